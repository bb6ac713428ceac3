//! What each command of the command line does.

pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod init;
pub(crate) mod load;
pub(crate) mod position;
pub(crate) mod request;
pub(crate) mod run;
pub(crate) mod status;
