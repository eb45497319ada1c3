//! All images of a job at once.

use super::voice::Voice;
use super::{Image, Policy, Puller, bracketed};
use crate::docker::auth::Logins;
use crate::fault::Fault;
use crate::log::Log;
use bollard::Docker;
use futures_util::FutureExt;
use futures_util::future::Shared;
use std::collections::HashMap;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use warmstart_gitlab::sections::Level;

/// Pulls under way, all at once. They are stopped when this goes.
#[derive(Debug)]
pub struct Pulls {
    docker: Docker,
    log: Log,
    logins: Logins,
    voices: Vec<Voice>,
    begun: HashMap<(String, String), Shared<oneshot::Receiver<Image>>>,
    tasks: Vec<AbortOnDropHandle<()>>,
    fail: mpsc::UnboundedSender<(Voice, Fault)>,
    failed: mpsc::UnboundedReceiver<(Voice, Fault)>,
}

/// An image on its way.
#[derive(Debug)]
pub struct Turn {
    voice: Voice,
    image: Shared<oneshot::Receiver<Image>>,
}

impl Turn {
    /// Waits for the image. What its pull says comes into the log meanwhile.
    ///
    /// Fails only if something is wrong with this program: [`Pulls::failure`] tells of everything else, and before.
    pub async fn image(self) -> Result<Image, Fault> {
        self.voice.speak();
        let image = self.image.await;
        image.map_err(|_| Fault::System("cannot pull an image: the agent failed; see its own log".to_owned()))
    }
}

impl Pulls {
    /// No pulls yet.
    #[must_use]
    pub fn new(docker: &Docker, log: &Log, logins: Logins) -> Self {
        let (fail, failed) = mpsc::unbounded_channel();
        Self {
            docker: docker.clone(),
            log: log.clone(),
            logins,
            voices: Vec::new(),
            begun: HashMap::new(),
            tasks: Vec::new(),
            fail,
            failed,
        }
    }

    /// Begins to pull. An image that is on its way already is not pulled again, whatever the policy (protocol §4.3).
    pub fn begin(&mut self, name: &str, policies: Vec<Policy>, platform: &str) -> Turn {
        let voice = Voice::new(&self.log);
        self.voices.push(voice.clone());
        let policy = bracketed(&policies);
        voice.say(Level::Print, format!("Using effective pull policy of {policy} for container {name}"));
        let key = (name.to_owned(), platform.to_owned());
        if let Some(image) = self.begun.get(&key) {
            return Turn { voice, image: image.clone() };
        }
        let image = self.spawn(voice.clone(), key.clone(), policies).shared();
        self.begun.insert(key, image.clone());
        Turn { voice, image }
    }

    fn spawn(&mut self, voice: Voice, image: (String, String), policies: Vec<Policy>) -> oneshot::Receiver<Image> {
        let (docker, logins, fail) = (self.docker.clone(), self.logins.clone(), self.fail.clone());
        let (done, receiver) = oneshot::channel();
        let work = async move {
            let (name, platform) = image;
            let puller = Puller { docker, voice, logins, name, platform };
            match puller.get(&policies).await {
                Ok(image) => drop(done.send(image)),
                // Before `done` goes: who waits for the image is to hear of the fault first.
                Err(fault) => drop(fail.send((puller.voice, fault))),
            }
        };
        self.tasks.push(AbortOnDropHandle::new(tokio::spawn(work)));
        receiver
    }

    /// Waits until a pull fails. Then it alone is heard, and all others are stopped.
    pub async fn failure(&mut self) -> Fault {
        let Some((voice, fault)) = self.failed.recv().await else { return std::future::pending().await };
        self.tasks.clear();
        voice.alone_of(&self.voices);
        fault
    }
}
