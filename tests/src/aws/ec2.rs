//! EC2 as it can be on a bad day: a proxy in front of moto that has no capacity, throttles, loses answers, and keeps the
//! promise of `ClientToken` that moto ignores.

mod fleet;

use crate::harness::serve;
use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode, header};
use fleet::Capacity;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::task::AbortOnDropHandle;

pub use fleet::Market;

/// The parameters of a call, as they were sent.
pub type Parameters = Vec<(String, String)>;

/// What goes wrong with a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// EC2 never sees it; the connection breaks.
    LoseRequest,
    /// EC2 has done it; the connection breaks instead of the answer.
    LoseAnswer,
    /// Status and code of an error.
    Error(u16, &'static str),
}

/// The proxy. It ends with the value.
#[derive(Debug)]
pub struct Ec2 {
    /// The endpoint.
    pub url: String,
    inner: Arc<Inner>,
    _server: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Inner {
    moto: String,
    http: reqwest::Client,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    capacity: Capacity,
    /// What happens to the next calls of an action.
    faults: Vec<(&'static str, Fault)>,
    /// Answers by `ClientToken`, with what was asked.
    tokens: BTreeMap<String, (Parameters, String)>,
    page: Option<usize>,
    calls: Vec<Parameters>,
}

impl Ec2 {
    /// Starts a proxy in front of moto at this URL; it lets everything through.
    pub async fn start(moto: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let inner = Arc::new(Inner { moto: moto.to_owned(), http, shared: Mutex::default() });
        let (address, server) = serve(Router::new().fallback(answer).with_state(inner.clone())).await?;
        Ok(Self { url: format!("http://{address}"), inner, _server: server })
    }

    /// From now on there is room for so many instances of this kind there.
    pub fn capacity(&self, market: Market, instance_type: &str, subnet: &str, left: usize) {
        self.inner.shared().capacity.limit(market, instance_type, subnet, left);
    }

    /// From now on the account may have no more instances of a market; the code is the one EC2 gives.
    pub fn quota(&self, market: Market, code: &'static str) {
        self.inner.shared().capacity.quota(market, code);
    }

    /// From now on there is room again.
    pub fn relax(&self) {
        self.inner.shared().capacity = Capacity::default();
    }

    /// The next `times` calls of an action go wrong.
    pub fn fault(&self, action: &'static str, fault: &Fault, times: usize) {
        self.inner.shared().faults.extend(std::iter::repeat_n((action, fault.clone()), times));
    }

    /// Listings come in pages of at most so many.
    pub fn page(&self, size: usize) {
        self.inner.shared().page = Some(size);
    }

    /// The calls of an action so far, in their order.
    #[must_use]
    pub fn calls(&self, action: &str) -> Vec<Parameters> {
        let of = |call: &&Parameters| get(call, "Action") == Some(action);
        self.inner.shared().calls.iter().filter(of).cloned().collect()
    }
}

impl Inner {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong with this call.
    fn fault(&self, action: &str) -> Option<Fault> {
        let mut shared = self.shared();
        let at = shared.faults.iter().position(|(of, _)| *of == action)?;
        Some(shared.faults.remove(at).1)
    }

    async fn forward(&self, call: &Parameters, authorization: &str) -> Result<(StatusCode, String)> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(call).finish();
        let request = self.http.post(&self.moto).header("authorization", authorization);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    /// What EC2 does with a call.
    async fn act(&self, call: Parameters, authorization: &str) -> Result<(StatusCode, String)> {
        if get(&call, "Action") != Some("CreateFleet") {
            return self.forward(&self.paged(call), authorization).await;
        }
        let token = get(&call, "ClientToken").unwrap_or_default().to_owned();
        if let Some((asked, answer)) = self.shared().tokens.get(&token) {
            let same = *asked == call;
            let mismatch = || error("IdempotentParameterMismatch", "the token was used for another request");
            return Ok(if same { (StatusCode::OK, answer.clone()) } else { (StatusCode::BAD_REQUEST, mismatch()) });
        }
        let granted = self.shared().capacity.grant(&call);
        let (status, answer) = match granted.call {
            Some(call) => self.forward(&call, authorization).await?,
            None => (StatusCode::OK, fleet::nothing()),
        };
        let answer = fleet::with_errors(&answer, &granted.errors);
        if status.is_success() && !token.is_empty() {
            self.shared().tokens.insert(token, (call, answer.clone()));
        }
        Ok((status, answer))
    }

    fn paged(&self, mut call: Parameters) -> Parameters {
        if let Some(size) = self.shared().page.filter(|_| get(&call, "Action") == Some("DescribeInstances")) {
            call.push(("MaxResults".to_owned(), size.to_string()));
        }
        call
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response<Body> {
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let authorization = authorization.unwrap_or_default().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap_or_default();
    let call: Parameters = url::form_urlencoded::parse(&body).into_owned().collect();
    let action = get(&call, "Action").unwrap_or_default().to_owned();
    inner.shared().calls.push(call.clone());
    let fault = inner.fault(&action);
    match fault {
        Some(Fault::LoseRequest) => return broken(),
        Some(Fault::Error(status, code)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return xml(status, error(code, "as the test wants it"));
        }
        _ => {}
    }
    match inner.act(call, &authorization).await {
        Ok(_) if fault == Some(Fault::LoseAnswer) => broken(),
        Ok((status, text)) => xml(status, text),
        Err(why) => xml(StatusCode::BAD_GATEWAY, error("Proxy", &format!("{why:#}"))),
    }
}

fn xml(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/xml"));
    response
}

/// An answer that breaks off.
fn broken() -> Response<Body> {
    let cut = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "as the test wants it");
    Response::new(Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(cut)])))
}

fn error(code: &str, message: &str) -> String {
    format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
         <RequestID>test</RequestID></Response>"
    )
}

fn get<'a>(call: &'a Parameters, key: &str) -> Option<&'a str> {
    call.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}
