//! `node up`

use crate::{
    cli::{Global, Up},
    config_file::ConfigFile,
    daemon::{self, DaemonConfig},
    telemetry,
};

pub(super) fn run(global: &Global, arguments: &Up) -> anyhow::Result<()> {
    telemetry::init(global.log_level);
    let file = ConfigFile::load(&global.config)?;
    daemon::run(DaemonConfig::new(global, arguments, file))
}
