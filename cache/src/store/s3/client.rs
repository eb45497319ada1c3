//! The SDK's client, set up once.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_s3::{
    Client,
    config::{RequestChecksumCalculation, ResponseChecksumValidation},
};

use super::{super::Credentials, Error, address::Address, roots};

/// Makes a client: what is given explicitly wins, the usual AWS chain fills in the rest.
pub(super) async fn client(address: &Address, credentials: Option<&Credentials>) -> Result<Client, Error> {
    let given = |field: fn(&Credentials) -> &Option<String>| credentials.and_then(|given| field(given).clone());
    let region = address.region.clone().or_else(|| given(|given| &given.region)).map(Region::new);
    let endpoint = address.endpoint.clone().or_else(|| given(|given| &given.endpoint));
    let chain = aws_config::meta::region::RegionProviderChain::first_try(region)
        .or_default_provider()
        .or_else(Region::from_static("us-east-1"));
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(chain)
        .retry_config(RetryConfig::standard().with_max_attempts(5).with_initial_backoff(Duration::from_millis(200)))
        .timeout_config(timeouts());
    if let Some(given) = credentials {
        loader = loader.credentials_provider(aws_sdk_s3::config::Credentials::new(
            &given.access_key_id,
            &given.secret_access_key,
            given.session_token.clone(),
            None,
            "given",
        ));
    }
    if let Some(endpoint) = endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(http) = roots::client_without_system_roots()? {
        loader = loader.http_client(http);
    }
    let shared = loader.load().await;
    let config = aws_sdk_s3::config::Builder::from(&shared)
        .force_path_style(address.path_style.unwrap_or(shared.endpoint_url().is_some()))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Ok(Client::from_conf(config))
}

/// The SDK has no time limits of its own but the one for connecting.
fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(30))
        .operation_attempt_timeout(Duration::from_mins(2))
        .operation_timeout(Duration::from_mins(5))
        .build()
}
