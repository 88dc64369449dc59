//! `node docker …`

use crate::{
    cli::{DockerCreate, DockerVerb, Global},
    docker::{CreateRequest, DockerRequest},
    failure::{Failure, FailureKind},
    local_api::{Request, client::ask},
    output::{self, Table},
    report::docker::{
        ContainerNetworkReport, CreatedReport, Finding, FindingLevel, PublicationState,
        RemovedReport, UnpublishedReport,
    },
};

pub(super) fn run(global: &Global, verb: &DockerVerb) -> anyhow::Result<()> {
    match verb {
        DockerVerb::Create(arguments) => create(global, arguments),
        DockerVerb::Ls => ls(global),
        DockerVerb::Publish {
            name,
            network,
            force,
        } => {
            let request = DockerRequest::Publish {
                name: name.clone(),
                network: *network,
                force: *force,
            };
            publish(global, request)
        }
        DockerVerb::Unpublish { name } => unpublish(global, name),
        DockerVerb::Rm { name, force } => rm(global, name, *force),
        DockerVerb::Check => check(global),
    }
}

fn create(global: &Global, arguments: &DockerCreate) -> anyhow::Result<()> {
    let request = DockerRequest::Create(CreateRequest {
        name: arguments.name.clone(),
        network: arguments.network,
        subnet: arguments.subnet,
        ipv6_subnet: arguments.ipv6_subnet,
        no_ipv6: arguments.no_ipv6,
        internal: arguments.internal,
        no_masquerade: arguments.no_masquerade,
        route_metric: arguments.route_metric,
    });
    let created: CreatedReport = ask(&global.socket, &Request::Docker(request))?;
    if global.json {
        return output::json(&created);
    }
    let network = &created.network;
    let mut lines = vec![format!(
        "network  {}  bridge {}, driver {}, mtu {}",
        network.name, network.bridge, network.driver, network.mtu
    )];
    for subnet in &network.subnets {
        let is_v4 = subnet.prefix.addr().is_ipv4();
        let family = if is_v4 { "ipv4" } else { "ipv6" };
        let gateway = subnet.gateway.map(|gateway| format!("  gateway {gateway}"));
        let chosen = if is_v4 && created.allocated {
            "  (allocated by the controller)"
        } else {
            ""
        };
        let gateway = gateway.unwrap_or_default();
        lines.push(format!("{family:<8} {}{gateway}{chosen}", subnet.prefix));
    }
    let via = created
        .addresses
        .first()
        .map(|address| format!(" ({address})"));
    let routed: Vec<_> = network
        .subnets
        .iter()
        .map(|subnet| subnet.prefix.to_string())
        .collect();
    lines.push(format!(
        "route    {} via {}{}  {}",
        routed.join(", "),
        created.member,
        via.unwrap_or_default(),
        network.state.as_str()
    ));
    lines.push(format!(
        "firewall docker {}: {} rules, own nft table tombolo_docker",
        created.engine, created.rules
    ));
    lines.push(format!(
        "use it   docker run --network {0} ...      compose:  networks: {{{0}: {{external: true}}}}",
        network.name
    ));
    output::text_block(&(lines.join("\n") + "\n"))?;
    note_problem(network);
    Ok(())
}

fn note_problem(network: &ContainerNetworkReport) {
    if let Some(problem) = &network.problem {
        output::note(problem);
    }
}

fn ls(global: &Global) -> anyhow::Result<()> {
    let networks: Vec<ContainerNetworkReport> =
        ask(&global.socket, &Request::Docker(DockerRequest::List))?;
    if global.json {
        return output::json(&networks);
    }
    let mut table = Table::new([
        "NETWORK",
        "SUBNETS",
        "ROUTE",
        "FIREWALL",
        "CONTAINERS",
        "BY",
    ]);
    for network in &networks {
        let subnets: Vec<_> = network
            .subnets
            .iter()
            .map(|subnet| subnet.prefix.to_string())
            .collect();
        let firewall = match network.firewall_ok {
            Some(true) => "ok",
            Some(false) => "incomplete",
            None => "",
        };
        let by = match network.by.as_deref() {
            Some("label") => "label tombolo.network".to_owned(),
            Some("command") => "tombolo docker publish".to_owned(),
            Some(by) => by.to_owned(),
            None => format!("(tombolo docker publish {})", network.name),
        };
        table.row([
            network.name.clone(),
            subnets.join(", "),
            network.state.as_str().to_owned(),
            firewall.to_owned(),
            network.containers.len().to_string(),
            by,
        ]);
    }
    table.print()?;
    for network in &networks {
        note_problem(network);
    }
    Ok(())
}

fn publish(global: &Global, request: DockerRequest) -> anyhow::Result<()> {
    let network: ContainerNetworkReport = ask(&global.socket, &Request::Docker(request))?;
    if global.json {
        return output::json(&network);
    }
    let said = match network.state {
        PublicationState::Published => "is published",
        PublicationState::Pending => "is published once its route is approved",
        PublicationState::Asking => "is published once a controller answers",
        PublicationState::None | PublicationState::Refused => "is not published",
    };
    output::text_block(&format!("{} {said}.\n", network.name))?;
    note_problem(&network);
    Ok(())
}

fn unpublish(global: &Global, name: &str) -> anyhow::Result<()> {
    let name = name.to_owned();
    let request = Request::Docker(DockerRequest::Unpublish { name });
    let report: UnpublishedReport = ask(&global.socket, &request)?;
    if global.json {
        return output::json(&report);
    }
    output::text_block(&format!("{} is not published any more.\n", report.name))
}

fn rm(global: &Global, name: &str, force: bool) -> anyhow::Result<()> {
    let name = name.to_owned();
    let request = Request::Docker(DockerRequest::Remove { name, force });
    let removed: RemovedReport = ask(&global.socket, &request)?;
    if global.json {
        return output::json(&removed);
    }
    let mut parts = vec![format!("network {}", removed.name)];
    parts.extend(removed.routes.iter().map(|route| format!("route {route}")));
    parts.extend(
        removed
            .disconnected
            .iter()
            .map(|name| format!("container {name} from it")),
    );
    output::text_block(&format!(
        "removed  {} and its firewall rules\n",
        parts.join(", ")
    ))?;
    for route in &removed.later {
        output::note(&format!(
            "route {route} is withdrawn once a controller answers"
        ));
    }
    Ok(())
}

fn check(global: &Global) -> anyhow::Result<()> {
    let findings: Vec<Finding> = ask(&global.socket, &Request::Docker(DockerRequest::Check))?;
    if global.json {
        output::json(&findings)?;
    } else {
        let mut text = String::new();
        for finding in &findings {
            let level = match finding.level {
                FindingLevel::Ok => "ok",
                FindingLevel::Wait => "wait",
                FindingLevel::Fail => "FAIL",
            };
            text.push_str(&format!("{level:<5} {}\n", finding.what));
            if let Some(fix) = &finding.fix {
                text.push_str(&format!("      fix: {fix}\n"));
            }
        }
        output::text_block(&text)?;
    }
    let failed = findings
        .iter()
        .filter(|finding| finding.level == FindingLevel::Fail);
    match failed.count() {
        0 => Ok(()),
        count => Err(Failure::new(
            FailureKind::Failed,
            format!("{count} of these checks failed"),
        )
        .into()),
    }
}
