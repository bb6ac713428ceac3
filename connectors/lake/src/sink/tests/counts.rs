//! What is counted of commits.

use super::*;

#[tokio::test]
async fn files_that_are_shown_again_are_counted_once() {
    let place = place();
    let stats = Arc::new(LakeStats::default());
    let sink = async |writer| {
        let options = SinkOptions { stats: Arc::clone(&stats), ..options(place.lake.clone(), writer) };
        LakeSink::new(options).await.unwrap()
    };
    let counts = || (stats.files.get(), stats.file_bytes.get(), stats.rows.get());
    let mut first = sink(1).await;
    first.open().await.unwrap();
    commit(&mut first, 1, 1).await.unwrap();
    commit(&mut first, 1, 8).await.unwrap();
    let counted = counts();
    assert_eq!(counted.2, [(TableId::new("db", "t"), 7)]);
    for writer in 2..4 {
        sink(writer).await.open().await.unwrap();
        assert_eq!(counts(), counted);
    }
}
