//! Dates and times: extremes, fractions, zero and partial dates, negative and long times, defaults
//! that the server fills in, and a writer whose session is not in UTC.

use super::Listed;

const DATETIMES: &[&str] = &[
    "'2026-11-21 05:06:07.123456'",
    "'1000-01-01 00:00:00'",
    "'9999-12-31 23:59:59.999999'",
    "'0001-01-01 00:00:00'",
    "'1969-12-31 23:59:59.999999'",
    "'1970-01-01 00:00:00'",
    "'2024-02-29 12:00:00.5'",
    "'1582-10-10 10:10:10'",
    "'0000-00-00 00:00:00'",
    "'2026-00-00 00:00:00'",
    "'2026-05-00 12:34:56.654321'",
    "'2026-02-31 01:02:03'",
    "NULL",
];

const TIMES: &[&str] = &[
    "'00:00:00'",
    "'-00:00:00.000001'",
    "'00:00:00.000001'",
    "'-00:00:00.5'",
    "'-00:00:01.5'",
    "'12:34:56.789012'",
    "'-12:34:56.789012'",
    "'-01:02:03.25'",
    "'24:00:00'",
    "'838:59:59'",
    "'-838:59:59'",
    "'838:59:58.999999'",
    "'-838:59:58.999999'",
    "'-100:00:00'",
    "'900:00:00'",
    "NULL",
];

const INSTANTS: &[&str] = &[
    "FROM_UNIXTIME(1)",
    "FROM_UNIXTIME(1.000001)",
    "FROM_UNIXTIME(2147483647)",
    "FROM_UNIXTIME(2147483647.999999)",
    "'2026-11-21 05:06:07.987654'",
    "'2026-03-29 02:30:00'",
    "'0000-00-00 00:00:00'",
    "NULL",
];

/// The cases.
pub(super) const CASES: &[Listed] = &[
    (
        "date_all",
        "DATE",
        &[
            "'2026-11-21'",
            "'1000-01-01'",
            "'9999-12-31'",
            "'0001-01-01'",
            "'1969-12-31'",
            "'1970-01-01'",
            "'2000-02-29'",
            "'1900-03-01'",
            "'1582-10-10'",
            "'0000-00-00'",
            "'2026-00-00'",
            "'2026-02-00'",
            "'2026-00-15'",
            "'2026-02-31'",
            "'0000-05-05'",
            "NULL",
        ],
    ),
    ("date_not_null", "DATE NOT NULL", &["'2026-11-21'", "'0000-00-00'"]),
    ("time_0", "TIME", TIMES),
    ("time_1", "TIME(1)", TIMES),
    ("time_2", "TIME(2)", TIMES),
    ("time_3", "TIME(3)", TIMES),
    ("time_4", "TIME(4)", TIMES),
    ("time_5", "TIME(5)", TIMES),
    ("time_6", "TIME(6)", TIMES),
    ("datetime_0", "DATETIME", DATETIMES),
    ("datetime_1", "DATETIME(1)", DATETIMES),
    ("datetime_2", "DATETIME(2)", DATETIMES),
    ("datetime_3", "DATETIME(3)", DATETIMES),
    ("datetime_4", "DATETIME(4)", DATETIMES),
    ("datetime_5", "DATETIME(5)", DATETIMES),
    ("datetime_6", "DATETIME(6)", DATETIMES),
    ("timestamp_0", "TIMESTAMP NULL", INSTANTS),
    ("timestamp_1", "TIMESTAMP(1) NULL", INSTANTS),
    ("timestamp_2", "TIMESTAMP(2) NULL", INSTANTS),
    ("timestamp_3", "TIMESTAMP(3) NULL", INSTANTS),
    ("timestamp_4", "TIMESTAMP(4) NULL", INSTANTS),
    ("timestamp_5", "TIMESTAMP(5) NULL", INSTANTS),
    ("timestamp_6", "TIMESTAMP(6) NULL", INSTANTS),
    (
        "timestamp_now",
        "TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
        &["DEFAULT", "NOW(6)", "NULL"],
    ),
    ("datetime_now", "DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3)", &["DEFAULT", "UTC_TIMESTAMP(3)", "NULL"]),
];
