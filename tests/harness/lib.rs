//! What Tombolo's tests stand on.
//!
//! | module | what it gives |
//! |---|---|
//! | [`netns`] | a laboratory of network namespaces: underlay, hosts, bridges, containers, captures |
//! | [`overlay`] | the real binaries in such a laboratory |
//! | [`process`] | processes that are never left behind, waiting with deadlines, figures |

pub mod netns;
pub mod overlay;
pub mod process;
