//! moto: an AWS that answers EC2, S3 and STS as the real one does, but is lenient (no signature is checked, no
//! permission needed, `ClientToken` is ignored).

use crate::harness::cache;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The server, empty, on a free port of 127.0.0.1. It ends with the value.
#[derive(Debug)]
pub struct Moto {
    /// `http://127.0.0.1:port`, the endpoint of all services.
    pub url: String,
    server: Child,
}

/// What STS gives for a role.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "AWS's own words")]
pub struct RoleCredentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
    /// RFC 3339.
    pub expiration: String,
}

impl Moto {
    /// The region in which tests work.
    pub const REGION: &str = "us-east-1";
    /// The account whose resources moto has.
    pub const ACCOUNT: &str = "123456789012";

    /// Starts one; it answers when this returns.
    pub fn start() -> Result<Self> {
        let program = cache()?.join("venv/bin/moto_server");
        ensure!(program.is_file(), "{} is missing: run tests/setup/install", program.display());
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut server = command.spawn().context("start moto_server")?;
        let mut lines = BufReader::new(server.stderr.take().context("stderr is piped")?).lines().map_while(Result::ok);
        let url = lines.find_map(|line| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned()));
        // Its log has to go somewhere, or it blocks when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        let mut this = Self { url: String::new(), server };
        this.url = url.context("moto_server ended before it said where it listens")?;
        Ok(this)
    }

    /// Calls an action of a query service (`ec2`, `sts`, `iam`) as the account's administrator; its XML.
    ///
    /// Lists are written as AWS does: `("InstanceId.1", "i-…")`.
    pub async fn call(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
        self.call_as("testing", service, action, parameters).await
    }

    /// As [`Moto::call`], as whoever has this access key.
    pub async fn call_as(
        &self,
        access_key_id: &str,
        service: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String> {
        let version = match service {
            "ec2" => "2016-11-15",
            "iam" => "2010-05-08",
            _ => "2011-06-15",
        };
        let scope = format!("{access_key_id}/20260101/{}/{service}/aws4_request", Self::REGION);
        let signature = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=0");
        let mut form = vec![("Action", action), ("Version", version)];
        form.extend_from_slice(parameters);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = reqwest::Client::builder().no_proxy().build()?.post(&self.url).header("authorization", signature);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        let answer = request.send().await.with_context(|| format!("call {service} {action}"))?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{service} {action} answered {status}: {text}");
        Ok(text)
    }

    /// The instances that run, whoever started them.
    pub async fn running(&self) -> Result<Vec<String>> {
        let filter = [("Filter.1.Name", "instance-state-name"), ("Filter.1.Value.1", "running")];
        let listed = self.call("ec2", "DescribeInstances", &filter).await?;
        Ok(listed.split("<instanceId>").skip(1).filter_map(|rest| Some(rest.split_once('<')?.0.to_owned())).collect())
    }

    /// Credentials of a role in a session; on an instance EC2 takes the instance's id as the session's name.
    pub async fn assume_role(&self, role: &str, session: &str) -> Result<RoleCredentials> {
        let role = format!("arn:aws:iam::{}:role/{role}", Self::ACCOUNT);
        let xml = self.call("sts", "AssumeRole", &[("RoleArn", &role), ("RoleSessionName", session)]).await?;
        let text = |name| element(&xml, name).with_context(|| format!("STS answered without {name}: {xml}"));
        Ok(RoleCredentials {
            access_key_id: text("AccessKeyId")?,
            secret_access_key: text("SecretAccessKey")?,
            session_token: text("SessionToken")?,
            expiration: text("Expiration")?,
        })
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill().and_then(|()| self.server.wait());
    }
}

/// The text of the first element with this name; entities stay as they are.
#[must_use]
pub fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.to_owned())
}
