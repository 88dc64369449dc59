//! `node ping`: whether and how fast a member answers through its session, without a packet of the host being involved.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::member::{self, Wanted};
use crate::{
    cli::{self, Global},
    failure::{Failure, FailureKind},
    local_api::{Request, client::ask},
    output,
    report::{
        PeerReport,
        diagnosis::{PingLatency, PingReport, PingSummary},
    },
};

pub(super) fn run(global: &Global, arguments: &cli::Ping) -> anyhow::Result<()> {
    let wanted = Wanted {
        text: &arguments.member,
        network: arguments.network,
        family: None,
    };
    let (peer, _) = wanted.find(&global.socket)?;
    let mut answers = Vec::new();
    for number in 0..arguments.count {
        let started = Instant::now();
        let request = Request::Ping {
            network: peer.network,
            node: peer.node,
            patience_ms: milliseconds(arguments.timeout),
        };
        let answer: PingReport = ask(&global.socket, &request)?;
        if !global.json {
            output::text_block(&line(&peer, number + 1, &answer))?;
        }
        answers.push(answer);
        if number + 1 < arguments.count {
            let pause = Duration::from_secs_f64(arguments.interval);
            thread::sleep(pause.saturating_sub(started.elapsed()));
        }
    }
    let peers: Vec<PeerReport> = ask(&global.socket, &Request::Peers)?;
    let now = peers
        .into_iter()
        .find(|now| (now.node, now.network) == (peer.node, peer.network))
        .unwrap_or(peer);
    let summary = summary(now, &answers);
    if global.json {
        output::json(&summary)?;
    } else {
        output::text_block(&text(&summary))?;
    }
    if summary.received == 0 {
        let message = format!(
            "{} did not answer: `tombolo why {}` says why",
            named(&summary.name, &summary.node.to_string()),
            summary.node
        );
        return Err(Failure::new(FailureKind::Failed, message).into());
    }
    Ok(())
}

fn milliseconds(seconds: f64) -> u32 {
    (seconds * 1e3) as u32
}

fn named(name: &str, node: &str) -> String {
    if name.is_empty() {
        node.to_owned()
    } else {
        format!("{name} ({node})")
    }
}

fn line(peer: &PeerReport, number: u32, answer: &PingReport) -> String {
    let who = named(&peer.name, &peer.node.to_string());
    let made = answer
        .session_ms
        .map(|waited| format!(", session made in {waited:.0} ms"))
        .unwrap_or_default();
    match answer.latency_ms {
        Some(latency) => {
            let way = member::way(&answer.path);
            format!("{number}: {who}, {way}: {latency:.2} ms{made}\n")
        }
        None if answer.has_session => format!("{number}: {who}: no answer\n"),
        None => format!("{number}: {who}: no answer, there is no session\n"),
    }
}

fn summary(peer: PeerReport, answers: &[PingReport]) -> PingSummary {
    let samples: Vec<Option<f64>> = answers.iter().map(|answer| answer.latency_ms).collect();
    let taken: Vec<f64> = samples.iter().copied().flatten().collect();
    let (sent, received) = (samples.len() as u32, taken.len() as u32);
    let latency = (received > 0).then(|| PingLatency {
        min: taken.iter().copied().fold(f64::INFINITY, f64::min),
        average: taken.iter().sum::<f64>() / f64::from(received),
        max: taken.iter().copied().fold(0.0, f64::max),
    });
    PingSummary {
        node: peer.node,
        name: peer.name,
        network: peer.network,
        sent,
        received,
        loss_percent: f64::from(sent - received) * 100.0 / f64::from(sent.max(1)),
        latency_ms: latency,
        session_ms: answers.iter().find_map(|answer| answer.session_ms),
        path: peer.path,
        cipher: peer.cipher,
        samples,
    }
}

fn text(summary: &PingSummary) -> String {
    let mut text = format!(
        "{} of {} answered, {:.0}% lost",
        summary.received, summary.sent, summary.loss_percent
    );
    if let Some(latency) = summary.latency_ms {
        text += &format!(
            ", min/average/max {:.2}/{:.2}/{:.2} ms",
            latency.min, latency.average, latency.max
        );
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{PathKind, PathReport};

    #[test]
    fn the_summary_counts_what_was_lost_and_leaves_it_out_of_the_times() {
        let answers = [Some(2.0), None, Some(4.0), Some(3.0)].map(an_answer);
        let samples: Vec<Option<f64>> = answers.iter().map(|answer| answer.latency_ms).collect();

        let summary = summary(
            member::tests::a_peer("89e92ceee5", "srv2", "8056c2e21c000001", 5),
            &answers,
        );

        assert_eq!((summary.sent, summary.received), (4, 3));
        assert_eq!(summary.loss_percent, 25.0);
        let latency = summary.latency_ms.expect("there were answers");
        assert_eq!((latency.min, latency.average, latency.max), (2.0, 3.0, 4.0));
        assert_eq!(summary.samples, samples);
        assert_eq!(
            text(&summary),
            "3 of 4 answered, 25% lost, min/average/max 2.00/3.00/4.00 ms\n"
        );
    }

    fn an_answer(latency_ms: Option<f64>) -> PingReport {
        PingReport {
            path: PathReport {
                kind: PathKind::None,
                endpoint: None,
                via: None,
                mtu: None,
                carrier: None,
            },
            latency_ms,
            session_ms: None,
            has_session: true,
        }
    }
}
