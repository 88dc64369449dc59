//! System calls of the data plane: TUN devices, UDP sockets and waiting for either.

pub mod stop;
pub mod tun;
pub mod tun_offload;
pub mod udp;
pub(crate) mod underlay;
