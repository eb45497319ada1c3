//! Settings with a syntax of their own, which is Docker's.

use crate::fault::Fault;
use bollard::models::{DeviceMapping, DeviceRequest, ResourcesUlimits};
use std::collections::BTreeMap;

fn invalid(key: &str, text: &str, expected: &str) -> Fault {
    Fault::Configuration(format!("invalid {key} \"{text}\": expected {expected}"))
}

/// `512m`, `2g`, `1024`: bytes, with Docker's binary units.
pub(super) fn bytes(key: &str, text: &str) -> Result<Option<i64>, Fault> {
    let text = text.trim().to_lowercase();
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.trim_end_matches('b');
    let (digits, shift) = match digits.chars().last() {
        Some('k') => (&digits[..digits.len() - 1], 10),
        Some('m') => (&digits[..digits.len() - 1], 20),
        Some('g') => (&digits[..digits.len() - 1], 30),
        _ => (digits, 0),
    };
    let number: Option<i64> = digits.parse().ok().and_then(|n: i64| n.checked_mul(1 << shift));
    number.map(Some).ok_or_else(|| invalid(key, &text, "for example 512m"))
}

/// `1.5` or `3/2`, in billionths.
pub(super) fn nano_cpus(key: &str, text: &str) -> Result<Option<i64>, Fault> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let number = match text.split_once('/') {
        Some((above, below)) => above.parse::<f64>().ok().zip(below.parse::<f64>().ok()).map(|(a, b)| a / b),
        None => text.parse().ok(),
    };
    #[expect(clippy::cast_possible_truncation, reason = "checked to be a sensible number of CPUs")]
    match number {
        Some(cpus) if cpus > 0.0 && cpus < 1e6 => Ok(Some((cpus * 1e9).round() as i64)),
        _ => Err(invalid(key, text, "for example 1.5")),
    }
}

/// `soft[:hard]` by name.
pub(super) fn ulimits(limits: &BTreeMap<String, String>) -> Result<Option<Vec<ResourcesUlimits>>, Fault> {
    let one = |(name, text): (&String, &String)| {
        let (soft, hard) = text.split_once(':').unwrap_or((text, text));
        let numbers = soft.parse().ok().zip(hard.parse().ok());
        let (soft, hard) = numbers.ok_or_else(|| invalid(&format!("ulimit {name}"), text, "for example 1024:2048"))?;
        Ok(ResourcesUlimits { name: Some(name.clone()), soft: Some(soft), hard: Some(hard) })
    };
    let limits: Vec<_> = limits.iter().map(one).collect::<Result<_, Fault>>()?;
    Ok((!limits.is_empty()).then_some(limits))
}

/// `host[:container[:permissions]]`: by default the same path and all permissions.
pub(super) fn devices(devices: &[String]) -> Result<Vec<DeviceMapping>, Fault> {
    devices.iter().map(|text| device(text)).collect()
}

fn device(text: &str) -> Result<DeviceMapping, Fault> {
    let (host, inside, permissions) = match text.split(':').collect::<Vec<_>>()[..] {
        [host] => (host, host, "rwm"),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, permissions] => (host, inside, permissions),
        _ => return Err(invalid("device", text, "host[:container[:permissions]]")),
    };
    Ok(DeviceMapping {
        path_on_host: Some(host.to_owned()),
        path_in_container: Some(inside.to_owned()),
        cgroup_permissions: Some(permissions.to_owned()),
    })
}

/// `all`, `2`, `"device=0,1"`, `driver=…,count=…,capabilities=…,options=…`; one GPU where no number is said.
pub(super) fn gpus(key: &str, text: &str) -> Result<Option<Vec<DeviceRequest>>, Fault> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let mut request = DeviceRequest { capabilities: Some(vec![vec!["gpu".to_owned()]]), ..DeviceRequest::default() };
    for field in fields(text.trim()) {
        if !set(&mut request, &field) {
            return Err(invalid(key, text, "what `docker run --gpus` takes, for example all"));
        }
    }
    if request.count.is_none() && request.device_ids.is_none() {
        request.count = Some(1);
    }
    Ok(Some(vec![request]))
}

/// Takes over one field of `gpus`, if it is one.
fn set(request: &mut DeviceRequest, field: &str) -> bool {
    let words = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    match field.split_once('=').unwrap_or(("count", field)) {
        ("count", "all") => request.count = Some(-1),
        ("count", number) => match number.parse() {
            Ok(number) => request.count = Some(number),
            Err(_) => return false,
        },
        ("driver", driver) => request.driver = Some(driver.to_owned()),
        ("device", ids) => request.device_ids = Some(words(ids)),
        ("capabilities", more) => request.capabilities = Some(vec![[words(more), words("gpu")].concat()]),
        ("options", options) => {
            let pair = |option: &String| {
                let (key, value) = option.split_once('=').unwrap_or((option, ""));
                (key.to_owned(), value.to_owned())
            };
            request.options = Some(words(options).iter().map(pair).collect());
        }
        _ => return false,
    }
    true
}

/// Fields between commas; one with commas in it stands in quotes.
fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            letter => fields.last_mut().into_iter().for_each(|field| field.push(letter)),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_dockers_units() {
        let read = |text| bytes("memory", text).ok().flatten();
        assert_eq!(read("512m"), Some(512 << 20));
        assert_eq!(read("2GB"), Some(2 << 30));
        assert_eq!(read("1024"), Some(1024));
        assert_eq!(read(""), None);
        assert!(bytes("memory", "lots").is_err());
        assert!(bytes("memory", "9999999999g").is_err());
    }

    #[test]
    fn cpus_are_decimal_or_a_fraction() {
        assert_eq!(nano_cpus("cpus", "1.5").ok(), Some(Some(1_500_000_000)));
        assert_eq!(nano_cpus("cpus", "1/2").ok(), Some(Some(500_000_000)));
        assert!(nano_cpus("cpus", "1/0").is_err());
        assert!(nano_cpus("cpus", "-1").is_err());
    }

    #[test]
    fn gpus_are_asked_for_as_on_dockers_command_line() {
        let read = |text| gpus("gpus", text).ok().flatten().and_then(|mut requests| requests.pop());
        assert_eq!(read(" "), None);
        let all = read("all").expect("a request");
        assert_eq!((all.count, all.capabilities), (Some(-1), Some(vec![vec!["gpu".to_owned()]])));
        let two = read("\"device=0,GPU-1\",\"capabilities=utility,compute\",driver=nvidia").expect("a request");
        assert_eq!((two.count, two.device_ids.map(|ids| ids.join(" "))), (None, Some("0 GPU-1".to_owned())));
        assert_eq!(two.capabilities.map(|all| all.concat().join(" ")), Some("utility compute gpu".to_owned()));
        assert_eq!(read("driver=nvidia").and_then(|one| one.count), Some(1));
        assert!(gpus("gpus", "many").is_err() && gpus("gpus", "what=1").is_err());
    }

    #[test]
    fn a_device_and_a_limit_have_defaults() {
        let found = devices(&["/dev/fuse".to_owned(), "/dev/a:/dev/b:r".to_owned()]).expect("devices");
        let parts = |device: &DeviceMapping| {
            [&device.path_on_host, &device.path_in_container, &device.cgroup_permissions]
                .map(|part| part.clone().unwrap_or_default())
        };
        assert_eq!(parts(&found[0]), ["/dev/fuse", "/dev/fuse", "rwm"]);
        assert_eq!(parts(&found[1]), ["/dev/a", "/dev/b", "r"]);
        assert!(devices(&["a:b:c:d".to_owned()]).is_err());
        let limits = |text: &str| ulimits(&[("nofile".to_owned(), text.to_owned())].into());
        let one = limits("1024").expect("a limit").expect("a limit").remove(0);
        assert_eq!((one.soft, one.hard), (Some(1024), Some(1024)));
        assert!(limits("many").is_err());
    }
}
