//! Images that the runner's settings allow (protocol §4.2).

use crate::fault::Fault;
use globset::{GlobBuilder, GlobSetBuilder};

/// Whether one of the globs is for this image.
pub fn matches(globs: &[String], image: &str) -> Result<bool, Fault> {
    let invalid = |error| Fault::Configuration(format!("invalid glob of images: {error}"));
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(GlobBuilder::new(glob).literal_separator(true).build().map_err(invalid)?);
    }
    Ok(set.build().map_err(invalid)?.is_match(image))
}

/// Refuses an image that matches none of the globs, unless there are none or it is one of the runner's own.
pub fn check(what: &str, image: &str, globs: &[String], own: &[String]) -> Result<(), Fault> {
    if globs.is_empty() || own.iter().any(|default| default == image) || matches(globs, image)? {
        return Ok(());
    }
    let listed: Vec<String> = globs.iter().map(|glob| format!("\"{glob}\"")).collect();
    Err(Fault::Refused(format!("disallowed {what} \"{image}\": this runner allows {}", listed.join(", "))))
}

/// Refuses a user that is not among those allowed: by default the runner's own, if it has one.
pub fn check_user(user: &str, own: &str, allowed: &[String]) -> Result<(), Fault> {
    let is_free = allowed.is_empty() && (own.is_empty() || own == user);
    if user.is_empty() || is_free || allowed.iter().any(|other| other == user) {
        return Ok(());
    }
    let listed = if allowed.is_empty() { own.to_owned() } else { allowed.join(" ") };
    Err(Fault::Refused(format!("user \"{user}\" is not an allowed user: [{listed}]")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_must_match_a_glob_unless_it_is_the_default() {
        let globs = ["registry.test/*/app:*".to_owned(), "alpine:3.**".to_owned()];
        let allowed = |image: &str| check("image", image, &globs, &["ruby:3".to_owned()]).is_ok();
        assert!(allowed("registry.test/team/app:1") && allowed("ruby:3") && allowed("alpine:3.20"));
        assert!(!allowed("registry.test/a/b/app:1") && !allowed("debian:12"));
        assert!(check("image", "anything", &[], &[]).is_ok());
        assert!(check("image", "a", &["[".to_owned()], &[]).is_err());
    }

    #[test]
    fn a_job_may_ask_for_any_user_unless_the_settings_name_some() {
        let list = ["1000".to_owned(), "node".to_owned()];
        assert!(check_user("root", "", &[]).is_ok() && check_user("", "node", &list).is_ok());
        assert!(check_user("node", "node", &[]).is_ok() && check_user("1000", "", &list).is_ok());
        let refused = check_user("root", "", &list).expect_err("not in the list").to_string();
        assert_eq!(refused, "user \"root\" is not an allowed user: [1000 node]");
        assert!(check_user("node", "node", &["root".to_owned()]).is_err());
    }
}
