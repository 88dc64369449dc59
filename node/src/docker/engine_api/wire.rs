//! JSON of the Engine API, as far as it is read.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Value, json};
use tombolo_containers::{
    create::NetworkSpec,
    situation::{ContainerNetwork, Engine, FirewallBackend, Subnet},
};
use tombolo_names::table;

/// `GET /version`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Version {
    #[serde(default)]
    pub(super) version: String,
    pub(super) api_version: String,
    #[serde(rename = "MinAPIVersion")]
    pub(super) min_api_version: Option<String>,
}

/// `GET /info`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    security_options: Option<BTreeSet<String>>,
    firewall_backend: Option<Backend>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Backend {
    driver: String,
}

impl Info {
    pub(super) fn into_engine(self, version: String, api: String) -> Engine {
        let rootless = self
            .security_options
            .iter()
            .flatten()
            .any(|option| option.split(',').any(|field| field == "name=rootless"));
        // Before 28.3 there is only one, and nothing is said of it.
        let is_nftables = self
            .firewall_backend
            .is_some_and(|backend| backend.driver.starts_with("nftables"));
        Engine {
            version,
            api,
            rootless,
            firewall: if is_nftables {
                FirewallBackend::Nftables
            } else {
                FirewallBackend::Iptables
            },
        }
    }
}

/// `GET /networks`, `GET /networks/{id}`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Network {
    id: String,
    name: String,
    driver: String,
    #[serde(default)]
    internal: bool,
    #[serde(rename = "IPAM")]
    ipam: Option<Ipam>,
    labels: Option<BTreeMap<String, String>>,
    options: Option<BTreeMap<String, String>>,
    containers: Option<BTreeMap<String, Attached>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    config: Option<Vec<IpamConfig>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IpamConfig {
    subnet: Option<String>,
    gateway: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attached {
    name: String,
}

/// `GET /containers/json`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    names: Option<Vec<String>>,
    network_settings: Option<NetworkSettings>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: Option<BTreeMap<String, Endpoint>>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    #[serde(rename = "IPAddress")]
    v4: Option<String>,
    #[serde(rename = "GlobalIPv6Address")]
    v6: Option<String>,
}

impl From<Container> for table::Container {
    fn from(container: Container) -> Self {
        // A slash goes before the name; what has two is a link of another container.
        let mut names = container.names.iter().flatten();
        let name = names.find_map(|name| name.strip_prefix('/').filter(|name| !name.contains('/')));
        let endpoints = container
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        let texts = endpoints
            .values()
            .flat_map(|endpoint| [&endpoint.v4, &endpoint.v6])
            .flatten();
        Self {
            name: name.unwrap_or_default().to_owned(),
            // Empty where there is none.
            addresses: texts.filter_map(|text| text.parse().ok()).collect(),
        }
    }
}

impl From<Network> for ContainerNetwork {
    fn from(network: Network) -> Self {
        let configs = network
            .ipam
            .and_then(|ipam| ipam.config)
            .unwrap_or_default();
        let subnet = |config: IpamConfig| {
            let prefix: IpNet = config.subnet?.parse().ok()?;
            // Some versions write the gateway with the length of its prefix.
            let gateway = config.gateway.as_deref();
            let gateway = gateway.and_then(|text| text.split('/').next()?.parse::<IpAddr>().ok());
            Some(Subnet {
                prefix: prefix.trunc(),
                gateway,
            })
        };
        Self {
            id: network.id,
            name: network.name,
            driver: network.driver,
            internal: network.internal,
            subnets: configs.into_iter().filter_map(subnet).collect(),
            labels: network.labels.unwrap_or_default(),
            options: network.options.unwrap_or_default(),
            containers: network
                .containers
                .unwrap_or_default()
                .into_values()
                .map(|container| container.name)
                .collect(),
        }
    }
}

/// Body of `POST /networks/create`
pub(super) fn creation(spec: &NetworkSpec) -> Value {
    let config = |subnet: &Subnet| {
        let mut config = json!({"Subnet": subnet.prefix});
        if let Some(gateway) = subnet.gateway {
            config["Gateway"] = json!(gateway);
        }
        config
    };
    json!({
        "Name": spec.name,
        "Driver": "bridge",
        "CheckDuplicate": true,
        "EnableIPv6": spec.subnets.iter().any(|subnet| subnet.prefix.addr().is_ipv6()),
        "IPAM": {"Driver": "default", "Config": spec.subnets.iter().map(config).collect::<Vec<_>>()},
        "Labels": spec.labels,
        "Options": spec.options,
    })
}

/// Docker's words about why not.
pub(super) fn message(body: &[u8]) -> String {
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let message = said.as_ref().and_then(|said| said["message"].as_str());
    message.map_or_else(
        || String::from_utf8_lossy(body).trim().to_owned(),
        str::to_owned,
    )
}
