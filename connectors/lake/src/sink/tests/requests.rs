//! Requests as objects: put, listed, removed when they are answered; over a folder and over S3.

use lakeward_core::{Answer, Command, Request};

use super::*;
use crate::requests::ask_in;

fn request(id: &str) -> Request {
    Request { id: id.into(), command: Command::Resume { table: TableId::new("db", "t") } }
}

fn answered(next_seq: i64, answers: &[&str]) -> Checkpoint {
    let mut checkpoint = checkpoint(next_seq);
    checkpoint.requests = answers.iter().map(|id| Answer::done(*id)).collect();
    checkpoint
}

async fn standing<S: Store>(sink: &LakeSink<S>) -> Vec<String> {
    sink.requests().await.unwrap().into_iter().map(|request| request.id).collect()
}

/// Over any store.
pub(crate) async fn a_request_stands_until_it_is_answered<S: Store>(store: Arc<S>, lake: Lake) {
    // Before the pipeline has run, and beside its writer.
    ask_in(Arc::clone(&store), "shop", &request("2-b")).await.unwrap();
    let mut sink = LakeSink::over(Arc::clone(&store), options(lake.clone(), 1));
    let resume = sink.open().await.unwrap().resume;
    assert_eq!(resume.requests, [request("2-b")]);
    let mut asked = ask_in(Arc::clone(&store), "shop", &request("1-a")).await.unwrap();
    let twice = ask_in(Arc::clone(&store), "shop", &request("1-a")).await.err().unwrap();
    assert_eq!(twice.kind(), ErrorKind::Bug);
    ask_in(Arc::clone(&store), "other", &request("3")).await.unwrap();
    assert_eq!(standing(&sink).await, ["1-a", "2-b"]);
    sink.commit(checkpoint(1)).await.unwrap();
    assert!(asked.answer().await.unwrap().is_none());
    assert_eq!(standing(&sink).await, ["1-a", "2-b"]);
    sink.commit(answered(1, &["1-a"])).await.unwrap();
    assert_eq!(asked.answer().await.unwrap().unwrap().0, Answer::done("1-a"));
    assert_eq!(standing(&sink).await, ["2-b"]);

    // The process died between its commit and the removal: the next one removes it before it lists.
    sink.commit(answered(1, &["2-b"])).await.unwrap();
    ask_in(Arc::clone(&store), "shop", &request("2-b")).await.unwrap();
    sink.close().await.unwrap();
    let mut sink = LakeSink::over(store, options(lake, 2));
    assert_eq!(sink.open().await.unwrap().resume.requests, []);
    assert_eq!(standing(&sink).await, [""; 0]);
}

#[tokio::test]
async fn a_request_in_a_folder_stands_until_it_is_answered() {
    let place = place();
    a_request_stands_until_it_is_answered(Arc::new(place.store()), place.lake.clone()).await;
}

#[tokio::test]
async fn what_is_no_request_is_counted_and_left_alone() {
    let place = place();
    let store = place.store();
    let folder = "_lakeward/shop/requests";
    let foreign = [
        ("broken", "{\"id\":"),
        ("other-name", r#"{"id":"x","command":{"pause":{"table":["a","b"]}}}"#),
        ("newer", r#"{"id":"newer","command":{"explode":{"table":["a","b"]}}}"#),
        ("empty", ""),
    ];
    for (name, body) in foreign {
        store.put(&format!("{folder}/{name}.json"), Bytes::from_static(body.as_bytes())).await.unwrap();
    }
    store.put(&format!("{folder}/note.txt"), Bytes::from_static(b"hello")).await.unwrap();
    let options = options(place.lake.clone(), 1);
    let stats = Arc::clone(&options.stats);
    let mut sink = LakeSink::new(options).await.unwrap();
    assert_eq!(sink.open().await.unwrap().resume.requests, []);
    assert_eq!(stats.foreign_requests.get(), 5);
    ask_in(Arc::new(place.store()), "shop", &request("7")).await.unwrap();
    assert_eq!(standing(&sink).await, ["7"]);
    sink.commit(answered(1, &["7"])).await.unwrap();
    assert_eq!(stats.foreign_requests.get(), 5);
    assert_eq!(std::fs::read_dir(place.root.join(folder)).unwrap().count(), 5);
    std::fs::remove_dir_all(place.root.join(folder)).unwrap();
    assert_eq!(standing(&sink).await, [""; 0]);
    assert_eq!(stats.foreign_requests.get(), 0);
}
