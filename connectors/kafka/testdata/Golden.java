// How the golden files were made: Debezium 3.6.1's embedded engine (io.debezium:debezium-embedded and
// debezium-connector-mysql from Maven Central) against MySQL 9.7 with tables.sql and changes.sql, converter.schemas.enable=true;
// debezium-3.6.1-modes.json with bigint.unsigned.handling.mode=precise, decimal.handling.mode=string,
// time.precision.mode=isostring, binary.handling.mode=hex; debezium-3.6.1-transactions.json from transactions.sql with
// provide.transaction.metadata=true, heartbeat.interval.ms=3000, table.include.list=g.a,g.b,g.keyless; the heartbeats after
// the first one were left out. Schemas that repeat were then stored once.
import io.debezium.engine.*; import io.debezium.engine.format.*; import java.io.*; import java.nio.charset.StandardCharsets; import java.util.*; import java.util.concurrent.*;
public class Golden {
  // Golden OUT COUNT key=value…: writes records as lines of JSON until COUNT were seen.
  public static void main(String[] a) throws Exception {
    Properties p = new Properties();
    for (int i = 2; i < a.length; i++) { String[] kv = a[i].split("=", 2); p.put(kv[0], kv[1]); }
    int want = Integer.parseInt(a[1]); CountDownLatch end = new CountDownLatch(want);
    PrintStream out = new PrintStream(new FileOutputStream(a[0]), true, StandardCharsets.UTF_8);
    DebeziumEngine<ChangeEvent<String,String>> engine = DebeziumEngine.create(Json.class).using(p).notifying(r -> {
      out.println("{\"topic\":\"" + r.destination() + "\",\"key\":" + r.key() + ",\"value\":" + r.value() + "}"); end.countDown();
    }).using((ok, message, error) -> { System.err.println("ended " + ok + " " + message); if (error != null) error.printStackTrace(); while (end.getCount() > 0) end.countDown(); }).build();
    ExecutorService s = Executors.newSingleThreadExecutor(); s.execute(engine);
    end.await(200, TimeUnit.SECONDS); engine.close(); s.shutdown(); System.exit(0);
  }
}
