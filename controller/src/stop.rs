//! The signal to stop, heard by every part of the controller.

use tokio::sync::watch;

/// Gives the signal; dropping it gives it too.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<bool>);

/// Hears the signal.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

pub(crate) fn pair() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    pub(crate) fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Returns once the signal was given. Safe to drop half-way.
    pub(crate) async fn wait(&mut self) {
        // An error means that the stopper is gone, which is the same signal.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}
