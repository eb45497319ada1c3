//! The role that executors have.

use anyhow::{Result, bail, ensure};
use std::str::FromStr;

/// The role that executors have. Only EC2 may be allowed to assume it (its trust policy names `ec2.amazonaws.com`
/// alone): whoever else could would choose the name of its session, and be any instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Role {
    /// What the ARN of each of its sessions begins with.
    sessions: String,
}

impl FromStr for Role {
    type Err = anyhow::Error;

    /// Reads `arn:aws:iam::<account>:role/<path><name>`; a session's ARN has no path.
    fn from_str(arn: &str) -> Result<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "iam", "", account, role] = parts[..] else {
            bail!("`{arn}` is not the ARN of a role, arn:aws:iam::<account>:role/<name>");
        };
        let name = role.strip_prefix("role/").and_then(|name| name.rsplit('/').next()).unwrap_or_default();
        ensure!(!name.is_empty() && !account.is_empty(), "`{arn}` is not the ARN of a role: it names none");
        Ok(Self { sessions: format!("arn:{partition}:sts::{account}:assumed-role/{name}/") })
    }
}

impl Role {
    /// The session's name, if the ARN is of a session of this role.
    pub(super) fn session<'a>(&self, arn: &'a str) -> Option<&'a str> {
        arn.strip_prefix(&self.sessions).filter(|name| !name.is_empty() && !name.contains('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_session_of_the_role_itself_is_one() {
        let role: Role = "arn:aws:iam::123456789012:role/warmstart/executor".parse().expect("a role");
        let session = |arn| role.session(arn);
        assert_eq!(session("arn:aws:sts::123456789012:assumed-role/executor/i-1"), Some("i-1"));
        for other in [
            "arn:aws:sts::210987654321:assumed-role/executor/i-1",
            "arn:aws:sts::123456789012:assumed-role/executor2/i-1",
            "arn:aws:sts::123456789012:assumed-role/executor/",
            "arn:aws:sts::123456789012:assumed-role/executor/i-1/i-2",
            "arn:aws:sts::123456789012:federated-user/executor/i-1",
            "arn:aws:iam::123456789012:user/executor/i-1",
            "arn:aws-cn:sts::123456789012:assumed-role/executor/i-1",
        ] {
            assert_eq!(session(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_role_is_refused() {
        for text in ["", "executor", "arn:aws:iam::1:user/x", "arn:aws:iam::1:role/", "arn:aws:iam:::role/x"] {
            assert!(text.parse::<Role>().is_err(), "{text}");
        }
    }
}
