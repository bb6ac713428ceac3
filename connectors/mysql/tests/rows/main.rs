//! Row images against a real server: what is decoded is what SELECT shows.

mod binlog_file;
mod charset;
mod decode;
mod differential;
mod fuzz;
mod json;
mod values;
