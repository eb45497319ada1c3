//! Who is let in as an EC2 instance: nobody but the instance itself.

use super::site::{DEPLOYMENT, INSTANCE, OTHER, ROLE, Site, launched};
use anyhow::Result;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;
use warmstart_api::Registered;
use warmstart_api::client::Error;
use warmstart_api::proof::{BODY, CONTENT_TYPE, DEPLOYMENT as DEPLOYMENT_HEADER, RUN as RUN_HEADER};
use warmstart_runner::ownership::Event;
use warmstart_tests::aws::{Request, RoleCredentials, Sts};
use warmstart_tests::harness::eventually;

const RUN: &str = "run-1";

/// A proof in the making, by whoever wants to be let in.
#[derive(Clone)]
struct Claim {
    request: Request,
    signed: Vec<&'static str>,
    date: Timestamp,
}

impl Claim {
    /// The right one of a run.
    fn new(site: &Site) -> Self {
        let host = site.sts.url.trim_start_matches("http://");
        let headers =
            [("content-type", CONTENT_TYPE), ("host", host), (DEPLOYMENT_HEADER, DEPLOYMENT), (RUN_HEADER, RUN)];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let request = Request { headers: BTreeMap::from(headers), body: BODY.to_owned() };
        let signed = vec!["content-type", "host", DEPLOYMENT_HEADER, RUN_HEADER];
        Self { request, signed, date: Timestamp::now() }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.request.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    fn unsigned(mut self, name: &str) -> Self {
        self.signed.retain(|signed| *signed != name);
        self
    }

    fn sign(mut self, credentials: &RoleCredentials) -> Self {
        let date = self.date.strftime("%Y%m%dT%H%M%SZ").to_string();
        self.request.sign(credentials, &self.signed, &date);
        self
    }

    /// Takes a header out, or changes one, after the signature.
    fn then(mut self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.request.headers.insert(name.to_owned(), value.to_owned()),
            None => self.request.headers.remove(name),
        };
        self
    }

    fn text(&self) -> String {
        serde_json::json!({ "headers": self.request.headers, "from": "a later version" }).to_string()
    }
}

fn refused(answer: &Result<Registered, Error>, what: &str) {
    assert!(matches!(answer, Err(Error::Refused { .. })), "{what}: {answer:?}");
}

fn identity(arn: &str) -> String {
    format!(
        r#"<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>{arn}</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>"#
    )
}

/// STS says yes to whatever it is asked: what is refused now, the runner itself refuses.
fn say_yes(sts: &Sts) {
    let arn = format!("arn:aws:sts::123456789012:assumed-role/{ROLE}/{INSTANCE}");
    sts.answer(Some((200, &identity(&arn))));
}

#[tokio::test]
async fn the_instance_itself_is_let_in() -> Result<()> {
    let site = Site::start().await?;
    let credentials = site.sts.assume_role(ROLE, INSTANCE).await?;
    let proof = Claim::new(&site).sign(&credentials).text();
    site.register(INSTANCE, RUN, proof.clone()).await?;
    site.register(INSTANCE, RUN, proof).await?;
    Ok(())
}

#[tokio::test]
async fn a_proof_for_something_else_is_refused_and_sts_not_even_asked() -> Result<()> {
    let site = Site::start().await?;
    let credentials = site.sts.assume_role(ROLE, INSTANCE).await?;
    say_yes(&site.sts);
    let claim = || Claim::new(&site);
    let elsewhere = Sts::start().await?;
    let signed = claim().sign(&credentials);
    let cases = [
        ("another deployment", claim().with(DEPLOYMENT_HEADER, "warmstart-2").sign(&credentials)),
        ("another run", claim().with(RUN_HEADER, "run-2").sign(&credentials)),
        ("a host of the agent's choice", claim().with("host", &elsewhere.url[7..]).sign(&credentials)),
        ("a deployment that is not signed", claim().unsigned(DEPLOYMENT_HEADER).sign(&credentials)),
        ("a run that is not signed", claim().unsigned(RUN_HEADER).sign(&credentials)),
        ("a further header", signed.clone().then("x-forwarded-host", Some("example.com"))),
        ("an action in a header", signed.clone().then("x-amz-target", Some("AssumeRole"))),
        ("another content", claim().with("content-type", "application/json").sign(&credentials)),
        ("no token", signed.clone().then("x-amz-security-token", None)),
        ("no deployment", signed.clone().then(DEPLOYMENT_HEADER, None)),
        ("no signature", signed.clone().then("authorization", None)),
        ("a signature that is none", signed.clone().then("authorization", Some("Bearer x"))),
        ("a value with a line break", signed.clone().then("x-amz-date", Some("20260101T000000Z\r\nx: y"))),
    ];
    for (what, claim) in cases {
        refused(&site.register(INSTANCE, RUN, claim.text()).await, what);
    }
    for text in ["", "{}", "[]", "token", r#"{"headers":{"authorization":1}}"#] {
        refused(&site.register(INSTANCE, RUN, text.to_owned()).await, text);
    }
    assert!(site.sts.requests().is_empty() && elsewhere.requests().is_empty());
    site.register(INSTANCE, RUN, signed.text()).await?;
    assert_eq!(site.sts.requests().len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_proof_that_sts_does_not_take_is_refused() -> Result<()> {
    let site = Site::start().await?;
    let credentials = site.sts.assume_role(ROLE, INSTANCE).await?;
    let forged = RoleCredentials { secret_access_key: "guessed".to_owned(), ..credentials.clone() };
    refused(&site.register(INSTANCE, RUN, Claim::new(&site).sign(&forged).text()).await, "a guessed key");
    let mut old = Claim::new(&site);
    old.date -= Duration::from_mins(20);
    refused(&site.register(INSTANCE, RUN, old.sign(&credentials).text()).await, "an old one");
    let mut other = Claim::new(&site);
    other.request.body = "Action=GetSessionToken&Version=2011-06-15".to_owned();
    refused(&site.register(INSTANCE, RUN, other.sign(&credentials).text()).await, "another action");
    assert_eq!(site.sts.requests().len(), 3);
    assert!(site.sts.requests().iter().all(|request| request.body == BODY));
    Ok(())
}

#[tokio::test]
async fn whoever_else_signs_is_not_the_instance() -> Result<()> {
    let site = Site::start().await?;
    let credentials = site.sts.assume_role(ROLE, INSTANCE).await?;
    let proof = Claim::new(&site).sign(&credentials).text();
    refused(&site.register(OTHER, RUN, proof.clone()).await, "the proof of another executor");
    let role = site.sts.assume_role("administrator", INSTANCE).await?;
    refused(&site.register(INSTANCE, RUN, Claim::new(&site).sign(&role).text()).await, "another role");
    for arn in [
        format!("arn:aws:iam::123456789012:user/{INSTANCE}"),
        "arn:aws:iam::123456789012:root".to_owned(),
        format!("arn:aws:sts::210987654321:assumed-role/{ROLE}/{INSTANCE}"),
        format!("arn:aws:sts::123456789012:federated-user/{INSTANCE}"),
        format!("arn:aws:sts::123456789012:assumed-role/x/{ROLE}/{INSTANCE}"),
        String::new(),
    ] {
        site.sts.answer(Some((200, &identity(&arn))));
        refused(&site.register(INSTANCE, RUN, proof.clone()).await, &arn);
    }
    Ok(())
}

#[tokio::test]
async fn while_sts_gives_no_answer_the_agent_tries_again() -> Result<()> {
    let site = Site::start().await?;
    let credentials = site.sts.assume_role(ROLE, INSTANCE).await?;
    let large = identity(&format!("arn:aws:sts::123456789012:assumed-role/{ROLE}/{INSTANCE}")) + &" ".repeat(100_000);
    for answer in [(503, "away"), (200, large.as_str()), (200, "<html>a proxy</html>"), (302, "")] {
        site.sts.answer(Some(answer));
        let before = site.sts.requests().len();
        let register = site.register(INSTANCE, RUN, Claim::new(&site).sign(&credentials).text());
        let mend = async {
            eventually("STS was asked twice", async || (site.sts.requests().len() > before + 1).then_some(())).await;
            site.sts.answer(None);
        };
        tokio::join!(register, mend).0?;
    }
    Ok(())
}

#[tokio::test]
async fn an_instance_that_is_up_before_the_runner_knows_of_it_tries_again() -> Result<()> {
    let (site, new) = (Site::start().await?, "i-00000000000000003");
    let credentials = site.sts.assume_role(ROLE, new).await?;
    let proof = Claim::new(&site).sign(&credentials).text();
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).no_proxy().build()?;
    let body = serde_json::json!({ "version": 1, "agent_version": "", "executor": new, "run_id": RUN, "proof": proof });
    let early = http.post(format!("{}/v1/register", site.user_data().url)).json(&body).send().await?;
    assert_eq!((early.status().as_u16(), site.sts.requests().len()), (503, 0), "not sent away, and STS not asked");
    site.desk.tell(Event::Launching(new.to_owned(), Box::new(launched()))).await;
    site.register(new, RUN, proof).await?;
    Ok(())
}
