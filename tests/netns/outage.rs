//! Controllers, their store, cables and servers fail while members talk.

mod everything;
mod moving;
mod replica;
mod store;

use std::time::Duration;

use tombolo_tests::overlay::{Node, Overlay, Pings, SOON};
use tombolo_tests::process::{announce, wait_for};

/// Pings every 10 ms between all neighbours in a ring of nodes.
struct Traffic(Vec<Pings>);

impl Traffic {
    /// Starts once every pair of neighbours has a session.
    fn start(overlay: &Overlay) -> Self {
        let nodes: Vec<&Node> = overlay.nodes.iter().collect();
        tombolo_tests::overlay::wait_for_mesh(&overlay.nodes);
        let next = nodes.iter().cycle().skip(1);
        let flows: Vec<Pings> = nodes
            .iter()
            .zip(next)
            .map(|(from, to)| {
                let log = from.host.dir.join("traffic.log");
                let every = Duration::from_millis(10);
                Pings::start_every(every, &from.host.namespace, to.v4(), &log)
            })
            .collect();
        let traffic = Self(flows);
        traffic.goes_on();
        traffic
    }

    /// Waits for two seconds' worth of answers in every direction.
    fn goes_on(&self) {
        for flow in &self.0 {
            let until = flow.answers() + 200;
            wait_for("pings to go on", SOON, || {
                (flow.answers() >= until).then_some(())
            });
        }
    }

    /// Ends it; not one may have been lost.
    fn stop_without_loss(self) {
        let counts: Vec<_> = self.0.into_iter().map(Pings::stop).collect();
        let lost: usize = counts.iter().map(|(sent, received)| sent - received).sum();
        let sent: usize = counts.iter().map(|(sent, _)| sent).sum();
        announce(&format!("figure: pings lost {lost} of {sent} (promise 0)"));
        assert_eq!(lost, 0, "(sent, received): {counts:?}");
    }
}
