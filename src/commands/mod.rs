//! What each command of the command line does.

pub(crate) mod capture;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod init;
pub(crate) mod load;
mod over_kafka;
pub(crate) mod position;
pub(crate) mod request;
pub(crate) mod run;
pub(crate) mod status;
