//! Labels and options on Docker networks.

/// Whoever puts this label on a network, with the id of an overlay network, wants it published there.
pub const NETWORK: &str = "tombolo.network";
/// On networks that `node docker create` made; `node docker rm` removes no others.
pub const MANAGED: &str = "tombolo.managed";
/// `false`: containers go out to the world with their own addresses.
pub const MASQUERADE: &str = "tombolo.masquerade";
/// `true`: containers reach the overlay and nothing else.
pub const INTERNAL: &str = "tombolo.internal";
/// Metric of the routes to a network's subnets; a number, 0 without it.
pub const METRIC: &str = "tombolo.metric";

/// Name of the bridge's interface.
pub const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// Largest packet of the containers' interfaces.
pub const MTU: &str = "com.docker.network.driver.mtu";
/// Whether Docker masquerades what leaves the bridge.
pub const DOCKER_MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
/// How Docker from 28 on treats packets that are routed to containers; one per family. 27 refuses the value we need,
/// older ones do not look at the option.
pub const GATEWAY_MODES: [&str; 2] = [
    "com.docker.network.bridge.gateway_mode_ipv4",
    "com.docker.network.bridge.gateway_mode_ipv6",
];
/// Routed packets reach every port, as they do without Docker.
pub const UNPROTECTED: &str = "nat-unprotected";
