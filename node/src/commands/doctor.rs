//! `node doctor`: looks at this host and asks the daemon, if it runs; what it means is decided in
//! [`tombolo_engine::diagnosis::doctor`].

mod host;

use tombolo_engine::diagnosis::{
    Finding, Health,
    doctor::{Facts, Network, examine},
};

use crate::{
    cli::Global,
    config_file::ConfigFile,
    docker::DockerRequest,
    failure::{Failure, FailureKind},
    local_api::{Request, client::ask},
    output,
    report::{
        NetworkReport, PathKind, PeerReport, StatusReport,
        diagnosis::{DaemonFacts, DoctorReport},
        docker,
    },
};

pub(super) fn run(global: &Global) -> anyhow::Result<()> {
    output::progress("looking at this host…");
    let status: Option<StatusReport> = ask(&global.socket, &Request::Status).ok();
    let config = ConfigFile::load(&global.config);
    let mut facts = host::observe(
        global,
        status.as_ref(),
        config.ok().and_then(|file| file.port),
    );
    if let Some(status) = status {
        add_daemon(&mut facts, global, status);
    }
    let mut findings = examine(&facts);
    if facts.daemon && host::has_docker() {
        output::progress("asking Docker…");
        findings.extend(containers(global));
    }
    output::progress("");
    let healthy = findings
        .iter()
        .all(|finding| finding.health != Health::Broken);
    let report = DoctorReport { healthy, findings };
    if global.json {
        output::json(&report)?;
    } else {
        output::findings(&report.findings)?;
    }
    if healthy {
        return Ok(());
    }
    let message = "something is broken: the lines with -> say what mends it";
    Err(Failure::new(FailureKind::Failed, message).into())
}

fn add_daemon(facts: &mut Facts, global: &Global, status: StatusReport) {
    facts.daemon = true;
    facts.port = status.port;
    facts.seen_at = status.endpoints;
    facts.warnings = status.warnings;
    facts.aes = Some(status.forwarding.cpu_aes);
    facts.mapped = [status.nat.mapped_port, status.nat.mapped_tcp_port];
    let node = status.node.to_string();
    // Before the daemon is asked: that takes seconds where nobody gets through, and the daemon mends meanwhile.
    let networks = status.networks.into_iter();
    facts.networks = networks.map(|report| network(report, &node)).collect();
    output::progress("having a controller call this host…");
    let known: Option<DaemonFacts> = ask(&global.socket, &Request::Doctor).ok();
    if let Some(known) = known {
        facts.newest_document = known.newest_document;
        facts.carries = known.carries;
        facts.takes_streams = known.takes_streams;
        facts.is_translated = known.is_translated;
        facts.ways.exits = known.exits;
        facts.ways.overlay = known.defaults.map(|id| Some(id?.to_string()));
        facts.ways.intruders = known.intruders;
        facts.reached = known.reached;
        for (id, clash) in known.clashes {
            let id = id.to_string();
            if let Some(network) = facts.networks.iter_mut().find(|network| network.id == id) {
                network.clashes.push(clash);
            }
        }
    }
    let peers: Vec<PeerReport> = ask(&global.socket, &Request::Peers).unwrap_or_default();
    let count = |kind| peers.iter().filter(|peer| peer.path.kind == kind).count();
    facts.peers = [count(PathKind::Direct), count(PathKind::Relay)];
}

fn network(report: NetworkReport, node: &str) -> Network {
    Network {
        id: report.id.to_string(),
        node: node.to_owned(),
        clashes: Vec::new(),
        name: report.name.unwrap_or_else(|| report.id.to_string()),
        status: report.status.as_str().to_owned(),
        mtu: [report.mtu.map(u32::from), host::mtu_of(&report.interface)],
        interface: report.interface,
        is_connected: report.controller.is_some(),
        problem: report.problem,
        alarms: report.alarms,
    }
}

/// What `node docker check` finds. Docker that does not answer is no fault of the overlay's.
fn containers(global: &Global) -> Vec<Finding> {
    let request = Request::Docker(DockerRequest::Check);
    let checked: anyhow::Result<Vec<docker::Finding>> = ask(&global.socket, &request);
    match checked {
        Ok(checked) => checked.into_iter().map(container).collect(),
        Err(error) => vec![Finding::unknown("docker", error.to_string())],
    }
}

fn container(found: docker::Finding) -> Finding {
    let mend = found
        .fix
        .unwrap_or_else(|| "tombolo docker check".to_owned());
    match found.level {
        docker::FindingLevel::Ok => Finding::ok("docker", found.what),
        docker::FindingLevel::Wait => Finding::warning("docker", found.what, mend),
        docker::FindingLevel::Fail => Finding::broken("docker", found.what, mend),
    }
}
