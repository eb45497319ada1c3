//! What STS answers to `GetCallerIdentity`.

/// An answer, understood.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// The caller's ARN.
    Identity(String),
    /// The signature is not taken, for this reason.
    Refusal(String),
    /// No word about the caller.
    Trouble(String),
}

/// Reads an answer. The XML is AWS's: the values that count have no character that XML escapes.
pub(super) fn read(status: u16, text: &str) -> Reading {
    let code = element(text, "Code").unwrap_or_default();
    match (status, element(text, "Arn")) {
        (200, Some(arn)) if text.contains("<GetCallerIdentityResponse ") => Reading::Identity(arn.to_owned()),
        (400..=428 | 430..=499, _) if !code.is_empty() && !code.contains("Throttl") => {
            let message = element(text, "Message").unwrap_or_default();
            Reading::Refusal(one_line(&format!("{code}: {message}")))
        }
        _ => Reading::Trouble(one_line(&format!("{status} {text}"))),
    }
}

/// The text of the only element with this name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, rest) = rest.split_once(&format!("</{name}>"))?;
    (!value.contains('<') && !rest.contains(&format!("<{name}>"))).then(|| value.trim())
}

fn one_line(text: &str) -> String {
    text.chars().take(300).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = r#"<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <GetCallerIdentityResult>
    <Arn>arn:aws:sts::123456789012:assumed-role/executor/i-1</Arn>
    <UserId>AROA:i-1</UserId>
    <Account>123456789012</Account>
  </GetCallerIdentityResult>
</GetCallerIdentityResponse>"#;

    fn error(code: &str) -> String {
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>No.</Message></Error></ErrorResponse>"
        )
    }

    #[test]
    fn an_identity_is_an_identity_only_with_200() {
        assert_eq!(
            read(200, IDENTITY),
            Reading::Identity("arn:aws:sts::123456789012:assumed-role/executor/i-1".to_owned())
        );
        assert!(matches!(read(500, IDENTITY), Reading::Trouble(_)));
        assert!(matches!(read(302, IDENTITY), Reading::Trouble(_)));
    }

    #[test]
    fn another_page_or_two_arns_are_no_identity() {
        let twice = IDENTITY.replace("<UserId>", "<Arn>arn:other</Arn><UserId>");
        let other = IDENTITY.replace("GetCallerIdentityResponse", "AssumeRoleResponse");
        for text in ["", "<html>", &twice, &other] {
            assert!(matches!(read(200, text), Reading::Trouble(_)), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_final_and_trouble_passes() {
        assert_eq!(
            read(403, &error("SignatureDoesNotMatch")),
            Reading::Refusal("SignatureDoesNotMatch: No.".to_owned())
        );
        assert!(matches!(read(400, &error("ExpiredToken")), Reading::Refusal(_)));
        assert!(matches!(read(400, &error("Throttling")), Reading::Trouble(_)));
        assert!(matches!(read(429, &error("Throttled")), Reading::Trouble(_)));
        assert!(matches!(read(503, &error("ServiceUnavailable")), Reading::Trouble(_)));
        assert!(matches!(read(403, "a proxy's page"), Reading::Trouble(_)));
    }
}
