//! The rules that the fake enforces: number, source and one line each, as in protocol §7.

use super::job::JobId;

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident $section:literal $text:literal;)*) => {
        /// One rule of protocol §7 that the fake judges requests by.
        ///
        /// The variants are the numbers of §7; [`Rule::text`] says what each demands.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[expect(clippy::doc_markdown, reason = "the same texts are shown without markup")]
        pub enum Rule { $(#[doc = $text] $rule,)* }

        impl Rule {
            /// Every rule that is enforced, in the order of the protocol.
            pub const ALL: &[Self] = &[$(Self::$rule,)*];

            /// The rule's number in §7.
            #[must_use]
            pub fn number(self) -> &'static str {
                match self { $(Self::$rule => stringify!($rule),)* }
            }

            /// What the rule demands, in one line.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$rule => $text,)* }
            }

            /// The sections of `docs/protocol.md` the rule comes from.
            #[must_use]
            pub fn source(self) -> &'static str {
                match self { $(Self::$rule => $section,)* }
            }
        }
    };
}

rules! {
    A1  "§7.1"       "Only known paths and methods are called.";
    A2  "§7.1 §1.1"  "User-Agent is set; JSON is sent as application/json, a trace as something else.";
    A3  "§7.1 §1.1"  "X-Request-Id is 32 lower-case hex characters and new for each logical call.";
    A4  "§7.1 §1.1"  "The right token is sent, and the same in header and body.";
    B5  "§7.1 §1.1"  "Retries wait as demanded, are at most 5 with one body, and follow only statuses that may be retried.";
    B6  "§7.1"       "A cut connection is not answered by a tight loop of attempts.";
    A10 "§7.2 §1.4"  "Verify has token, a system_id of the right form, and info.features.";
    A11 "§7.2 §1.4"  "A glrt- token unregisters its manager with system_id, any other token its runner.";
    A12 "§7.2 §1.2"  "The system_id stays the same.";
    A13 "§7.2 §1.4"  "Registration sends no empty optional fields, and tag_list as one string.";
    A20 "§7.3 §1.5"  "A job request is at most 32 KiB, with token, system_id, executor docker and the minimum features as booleans.";
    A21 "§7.3 §1.5"  "The last X-GitLab-Last-Update comes back as last_update.";
    A22 "§7.3 §1.5"  "Job requests keep to the check interval, the request concurrency and the limit of running jobs.";
    B24 "§7.3 §1.5"  "After three refusals the runner leaves the server alone for the unhealthy interval.";
    A28 "§7.3 §1.5"  "The first call for a job is PUT state=running with empty output.";
    A30 "§7.4 §1.7"  "A patch is 1 byte to 1 MiB, Content-Range fits its length and starts at the stored size.";
    A31 "§7.4 §1.7"  "debug_trace is sent and is the job's debug setting.";
    A32 "§7.4 §1.7"  "Patches are not closer than the update interval, the final flush and repairs excepted.";
    A33 "§7.4 §1.7"  "A silent job is kept alive, with checksum and size of the log so far.";
    B34 "§7.4 §1.7"  "After 416 the log is resent from the Range of the answer.";
    A35 "§7.4 §2.7"  "The stored log is what the final checksum and size say, UTF-8, without secrets, its sections balanced and in order.";
    B37 "§7.4 §2.7"  "A log that exceeded its limit ends with the notice right after the limit.";
    A38 "§7.4 §2.7"  "Every line of the stored log begins with its time and stream, and a continuation follows its own stream's line; none does where the job turns FF_TIMESTAMPS off.";
    A40 "§7.5 §1.8"  "A job has running updates and then one final state, repeated only after a failure.";
    A41 "§7.5 §1.8"  "exit_code and failure_reason are there on failures, allowed, and absent on success.";
    B42 "§7.5 §1.8"  "After 202 the same update is repeated, not before the interval.";
    B43 "§7.5 §1.8"  "After 412 the whole log is resent before the next update.";
    B44 "§7.5 §1.8"  "A failed final update is retried with pauses, at most 10 rounds.";
    B52 "§7.6 §1.9"  "After an abort the runner sends no log and no artifacts any more.";
    A60 "§7.7 §1.10" "Uploads have one part named file, and name, type, format, expiry and order of the payload.";
    A61 "§7.7 §6.3"  "Archives can be read, and their entries are relative without `..`.";
    A63 "§7.7 §1.11" "Artifacts of declared dependencies only are downloaded, direct_download only on the first attempt, no token to object storage.";
    A75 "§7.8 §3.4"  "Git is called with the token of a running job.";
}

/// A request, or the sum of a job's requests, that broke a rule.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The rule that was broken.
    pub rule: Rule,
    /// The job it happened in, if any.
    pub job: Option<JobId>,
    /// What happened, in one line, without secrets.
    pub what: String,
    /// The `X-Request-Id` of the request that showed it; empty when it had none.
    pub request_id: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.rule.number(), self.rule.source())?;
        if let Some(job) = self.job {
            write!(f, " job {job}")?;
        }
        write!(f, ": {}", self.what)?;
        if !self.request_id.is_empty() {
            write!(f, " [request {}]", self.request_id)?;
        }
        write!(f, "; the rule: {}", self.rule.text())
    }
}
