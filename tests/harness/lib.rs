//! What Tombolo's tests stand on.
//!
//! | module | what it gives |
//! |---|---|
//! | [`world`] | whole networks in virtual time: engines on a simulated underlay |
//! | [`clock`] | virtual time |
//! | [`simnet`] | a seeded underlay: delay, loss, reordering, duplication |
//! | [`simnat`] | NATs in it |
//! | [`fake_noise`] | a handshake without cryptography and without a clock of its own |
//! | [`controllers`] | replicas that decide and sign as real ones do, over a simulated store |
//! | [`authority`] | signed directories without a controller |
//! | [`model`] | who may talk to whom, worked out naively |
//! | [`packets`] | inner packets that can be told apart |
//! | [`netns`] | a laboratory of network namespaces: underlay, hosts, bridges, containers, captures |
//! | [`nat`] | routers with NAT, and hosts behind them |
//! | [`overlay`] | the real binaries in such a laboratory |
//! | [`machine`] | hosts that are machines of their own: mounts and processes too |
//! | [`docker`] | a dockerd on each of such hosts, and containers |
//! | [`fake_engine`] | a Docker engine that only talks, of any version |
//! | [`docker_image`] | images made of what this machine has |
//! | [`footprint`] | what a host looks like, to be compared before and after |
//! | [`browser`] | a real browser |
//! | [`cluster`] | several controllers on one PostgreSQL in such a laboratory |
//! | [`postgres`] | a PostgreSQL server of one's own |
//! | [`process`] | processes that are never left behind, waiting with deadlines, figures |

pub mod authority;
pub mod browser;
pub mod clock;
pub mod cluster;
pub mod controllers;
pub mod docker;
pub mod docker_image;
pub mod fake_engine;
pub mod fake_noise;
pub mod footprint;
pub mod machine;
pub mod model;
pub mod nat;
pub mod netns;
pub mod overlay;
pub mod packets;
pub mod postgres;
pub mod process;
pub mod simnat;
pub mod simnet;
pub mod wan;
pub mod world;
