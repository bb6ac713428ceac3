//! The protocol over a real S3 server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lakeward_core::clock::SystemClock;
use lakeward_core::{ErrorKind, Level, TableId};
use lakeward_test_support::http_faults::{Fault, HttpFaults, Rule};
use lakeward_test_support::s3 as server;
use uuid::Uuid;

use super::connect::PARTS_AT_ONCE;
use super::{S3, S3Options};
use crate::config::{Lake, LakeConfig};
use crate::keys::tests as keys;
use crate::objects::lake_store::StoreOptions;
use crate::objects::{OpenUpload, Put, Shown, Store};
use crate::preflight;
use crate::sink::tests as sink;

fn lake(server: &server::S3, bucket: &str, secret: &str) -> Lake {
    lake_at(&server.endpoint(), bucket, secret)
}

fn lake_at(endpoint: &str, bucket: &str, secret: &str) -> Lake {
    let config = serde_json::json!({
        "url": format!("s3://{bucket}/some/prefix"),
        "s3": {
            "endpoint": endpoint,
            "region": server::REGION,
            "path_style": true,
            "access_key": server::ACCESS_KEY,
            "secret_key": secret,
        }
    });
    serde_json::from_value::<LakeConfig>(config).unwrap().checked().unwrap()
}

async fn connect(lake: &Lake, bucket: &str, patience: Duration) -> S3 {
    connect_below(lake, bucket, "some/prefix", patience).await
}

async fn connect_below(lake: &Lake, bucket: &str, prefix: &str, patience: Duration) -> S3 {
    let options = S3Options {
        clock: Arc::new(SystemClock::start()),
        stats: Arc::default(),
        writer: Uuid::from_u128(5),
        patience,
    };
    S3::connect(&lake.s3, bucket, prefix, options).await.unwrap()
}

async fn good(server: &server::S3) -> (S3, Lake) {
    let lake = lake(server, server::BUCKET, server::SECRET_KEY);
    (connect(&lake, server::BUCKET, Duration::from_secs(60)).await, lake)
}

#[tokio::test]
async fn what_is_committed_to_s3_is_there_after_a_restart() {
    let server = server::S3::start();
    let (store, lake) = good(&server).await;
    sink::what_is_committed_is_there_after_a_restart(Arc::new(store), lake).await;
}

#[tokio::test]
async fn living_keys_are_read_from_s3() {
    let server = server::S3::start();
    let (store, lake) = good(&server).await;
    keys::stretches_are_what_was_put(&store).await;
    keys::the_newest_event_decides(Arc::new(store), lake).await;
}

#[tokio::test]
async fn a_request_in_s3_stands_until_it_is_answered() {
    let server = server::S3::start();
    let (store, lake) = good(&server).await;
    sink::requests::a_request_stands_until_it_is_answered(Arc::new(store), lake).await;
}

#[tokio::test]
async fn expired_uploads_on_s3_are_repaired() {
    let server = server::S3::start();
    let (store, lake) = good(&server).await;
    sink::lost_uploads_are_repaired(sink::Broken::new(store), lake).await;
}

#[tokio::test]
async fn the_older_of_two_writers_on_s3_is_fenced() {
    let server = server::S3::start();
    let (store, lake) = good(&server).await;
    sink::the_older_of_two_writers_is_fenced(Arc::new(store), lake).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_put_every_row_on_s3_once() {
    let server = server::S3::start();
    let (store, lake) = good(&server).await;
    sink::shared::workers_that_are_killed_put_every_row_once(Arc::new(store), lake).await;
}

#[tokio::test]
async fn an_upload_is_unseen_until_it_is_shown_and_may_be_shown_again() {
    let server = server::S3::start();
    let (store, _) = good(&server).await;
    let key = "db/t/p-00000000000000000001-1-1.parquet";
    let upload = store.begin(key, "p/1/1").await.unwrap();
    let parts = [
        store.part(&upload, 1, vec![7; store.part_size()].into()).await.unwrap(),
        store.part(&upload, 2, vec![8; 10].into()).await.unwrap(),
    ];
    assert_eq!(store.get(key).await.unwrap(), None);
    assert_eq!(store.list("db/", "", 10).await.unwrap(), Vec::<String>::new());
    let open = OpenUpload { key: key.into(), upload_id: upload.upload_id.clone() };
    assert_eq!(store.open_uploads("p").await.unwrap(), std::slice::from_ref(&open));
    for _ in 0..2 {
        assert_eq!(store.show(&upload, &parts).await.unwrap(), Shown::Visible);
    }
    store.abort(&open).await.unwrap();
    assert_eq!(store.get(key).await.unwrap().unwrap().len(), store.part_size() + 10);
    assert_eq!(store.list("db/", "", 10).await.unwrap(), [key]);
    assert_eq!(store.list("db/", key, 10).await.unwrap(), Vec::<String>::new());

    let gone = store.begin("db/t/p-00000000000000000002-1-2.parquet", "p/1/2").await.unwrap();
    let parts = [store.part(&gone, 1, vec![1].into()).await.unwrap()];
    store.abort(&OpenUpload { key: gone.key.clone(), upload_id: gone.upload_id.clone() }).await.unwrap();
    assert_eq!(store.show(&gone, &parts).await.unwrap(), Shown::Lost);
    // Another upload's object under the key is not ours.
    let foreign = crate::objects::Upload { lakeward_id: "p/1/9".into(), key: key.into(), ..gone };
    assert_eq!(store.show(&foreign, &parts).await.unwrap_err().kind(), ErrorKind::LakeCorrupt);
}

#[tokio::test]
async fn uploads_of_a_lake_below_ours_are_not_aborted() {
    let server = server::S3::start();
    let (inner, lake) = good(&server).await;
    let patience = Duration::from_secs(60);
    for prefix in ["", "some"] {
        let outer = Arc::new(connect_below(&lake, server::BUCKET, prefix, patience).await);
        // Of an epoch that the outer lake's writer revokes.
        let key = "db/t/dt=1970-01-01/hr=00/shop-00000000000000000001-0-1.parquet";
        let theirs = inner.begin(key, "shop/0/1").await.unwrap();
        let ours = outer.begin(key, "shop/0/1").await.unwrap();
        let _writer = sink::opened(Arc::clone(&outer), lake.clone()).await;
        let left: Vec<String> =
            outer.open_uploads("shop").await.unwrap().into_iter().map(|open| open.upload_id).collect();
        assert_eq!(left, [theirs.upload_id.as_str()], "and not {}", ours.upload_id);
        inner.abort(&OpenUpload { key: theirs.key, upload_id: theirs.upload_id }).await.unwrap();
    }
}

#[tokio::test]
async fn a_part_that_is_stored_under_another_etag_than_was_recorded_is_shown() {
    let server = server::S3::start();
    let (store, _) = good(&server).await;
    let key = "db/t/dt=1970-01-01/hr=00/p-00000000000000000001-1-1.parquet";
    let upload = store.begin(key, "p/1/1").await.unwrap();
    let mut parts = [
        store.part(&upload, 1, vec![7; store.part_size()].into()).await.unwrap(),
        store.part(&upload, 2, vec![8; 10].into()).await.unwrap(),
    ];
    parts[1].etag = "\"00112233445566778899aabbccddeeff\"".into();
    // Other bytes than were recorded are never shown.
    let mut others = parts.clone();
    others[1].bytes += 1;
    let error = store.show(&upload, &others).await.unwrap_err();
    assert!(error.to_string().contains("InvalidPart"), "{error}");
    assert_eq!(store.get(key).await.unwrap(), None);
    for _ in 0..2 {
        assert_eq!(store.show(&upload, &parts).await.unwrap(), Shown::Visible);
    }
    assert_eq!(store.get(key).await.unwrap().unwrap().len(), store.part_size() + 10);
}

#[tokio::test]
async fn no_more_parts_are_under_way_than_a_slow_line_carries_in_time() {
    const PARTS: u32 = 24;
    let delay = Duration::from_millis(300);
    let server = server::S3::start();
    let proxy = HttpFaults::start(server.port());
    let (method, target) = ("PUT", "partNumber=".to_owned());
    proxy.add(Rule { method, target, after: 0, times: PARTS as usize, fault: Fault::Delay(delay) });
    let lake = lake_at(&proxy.endpoint(), server::BUCKET, server::SECRET_KEY);
    let store = connect(&lake, server::BUCKET, Duration::from_secs(60)).await;
    let begun = Instant::now();
    // Of files that are written at the same time.
    let files = (0..PARTS).map(|n| {
        let store = &store;
        async move {
            let key = format!("db/t/dt=1970-01-01/hr=00/p-{n:020}-1-{n}.parquet");
            let upload = store.begin(&key, &format!("p/1/{n}")).await.unwrap();
            store.part(&upload, 1, vec![8; 10].into()).await.unwrap();
        }
    });
    futures::future::join_all(files).await;
    assert_eq!(proxy.fired(), PARTS as usize);
    let rounds = PARTS / u32::try_from(PARTS_AT_ONCE).unwrap();
    assert!(begun.elapsed() >= delay * rounds, "more than {PARTS_AT_ONCE} parts were sent at once");
}

#[tokio::test]
async fn of_racing_conditional_puts_one_wins() {
    let server = server::S3::start();
    let (store, _) = good(&server).await;
    let puts = (0..8).map(|n| store.put_if_absent("log/1", format!("{n}").into()));
    let puts = futures::future::join_all(puts).await;
    assert_eq!(puts.into_iter().filter(|put| matches!(put, Ok(Put::Created))).count(), 1);
}

#[tokio::test]
async fn refusals_name_bucket_and_fix_and_never_the_secret() {
    let server = server::S3::start();
    let (_, good) = good(&server).await;
    let secret = "another-Secret/that+is=wrong";
    let wrong = lake(&server, server::BUCKET, secret);
    for (store, named) in [
        (connect(&wrong, server::BUCKET, Duration::ZERO).await, server::BUCKET),
        (connect(&good, "no-such-bucket", Duration::ZERO).await, "no-such-bucket"),
    ] {
        for error in [
            store.put_if_absent("k", "x".into()).await.unwrap_err(),
            store.list("", "", 1).await.unwrap_err(),
            store.begin("k", "p/1/1").await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::LakeDenied, "{error}");
            assert!(error.to_string().contains(named) && error.remedy_text().is_some(), "{error}");
            let shown = format!("{error} {error:?} {store:?}");
            assert!(!shown.contains(secret) && !shown.contains(server::SECRET_KEY), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_dead_store_is_unreachable_once_the_patience_ends() {
    let mut server = server::S3::start();
    let lake = lake(&server, server::BUCKET, server::SECRET_KEY);
    let store = connect(&lake, server::BUCKET, Duration::from_secs(1)).await;
    server.kill9();
    let error = store.put_if_absent("k", "x".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LakeUnreachable);
    server.start_again();
    assert_eq!(store.put_if_absent("k", "x".into()).await.unwrap(), Put::Created);
}

#[tokio::test]
async fn a_check_finds_a_good_bucket_good_and_leaves_nothing_in_it() {
    let server = server::S3::start();
    let (_, lake) = good(&server).await;
    let options = StoreOptions {
        clock: Arc::new(SystemClock::start()),
        stats: Arc::default(),
        writer: Uuid::from_u128(5),
        patience: Duration::from_secs(10),
    };
    let findings = preflight::check(&lake, "shop", &[TableId::new("db", "t")], options).await;
    assert!(findings.iter().all(|finding| finding.level < Level::Error), "{findings:?}");
    assert_eq!(server.objects(), Vec::<String>::new());
    assert_eq!(server.open_uploads(), 0);
}
