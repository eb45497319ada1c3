//! What the other tests rely on in moto.

use anyhow::{Context, Result};
use warmstart_tests::aws::{Moto, element};

#[tokio::test]
async fn the_session_of_a_role_is_named_in_its_identity() -> Result<()> {
    let moto = Moto::start()?;
    let credentials = moto.assume_role("executor", "i-0123456789abcdef0").await?;
    assert!(credentials.access_key_id.starts_with("ASIA") && credentials.expiration.ends_with('Z'));
    let own = moto.call("sts", "GetCallerIdentity", &[]).await?;
    assert!(element(&own, "Arn").context("there is an ARN")?.contains(":user/"), "{own}");
    let role = moto.call_as(&credentials.access_key_id, "sts", "GetCallerIdentity", &[]).await?;
    let arn = element(&role, "Arn").context("there is an ARN")?;
    assert_eq!(arn, "arn:aws:sts::123456789012:assumed-role/executor/i-0123456789abcdef0");
    Ok(())
}
