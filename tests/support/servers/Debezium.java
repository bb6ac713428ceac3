import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.Header;
import io.debezium.engine.format.Json;
import io.debezium.engine.format.KeyValueHeaderChangeEventFormat;
import java.io.BufferedOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;

/**
 * Runs Debezium's connector once for each file of properties, all at once, until each has seen its last record.
 *
 * Beside those of the connector, a file has `out`, the file for its records, one JSON object a line, and `last`, the
 * topic of the last one.
 */
public class Debezium {
    public static void main(String[] files) throws Exception {
        CountDownLatch running = new CountDownLatch(files.length);
        for (String file : files) {
            Properties properties = new Properties();
            try (InputStreamReader reader = new InputStreamReader(new FileInputStream(file), StandardCharsets.UTF_8)) {
                properties.load(reader);
            }
            new Thread(() -> run(properties, running)).start();
        }
        running.await();
        // An engine waits for seconds for threads that have nothing left to do.
        System.exit(0);
    }

    private static void run(Properties properties, CountDownLatch running) {
        String last = properties.getProperty("last");
        try {
            PrintStream out = new PrintStream(new BufferedOutputStream(new FileOutputStream(properties.getProperty("out")), 1 << 16), false, StandardCharsets.UTF_8);
            DebeziumEngine.create(KeyValueHeaderChangeEventFormat.of(Json.class, Json.class, Json.class))
                .using(properties)
                .notifying(event -> {
                    out.println(line(event));
                    if (event.destination().equals(last)) {
                        out.flush();
                        running.countDown();
                    }
                })
                .using((ok, message, error) -> fail(message, error))
                .build()
                .run();
        } catch (Exception error) {
            fail("it cannot be started", error);
        }
    }

    private static String line(ChangeEvent<String, String> event) {
        StringBuilder headers = new StringBuilder();
        for (Header<String> header : event.<String>headers()) {
            headers.append(headers.length() == 0 ? "" : ",").append('"').append(header.getKey()).append("\":").append(header.getValue());
        }
        return "{\"topic\":\"" + event.destination() + "\",\"key\":" + event.key() + ",\"value\":" + event.value()
            + ",\"headers\":{" + headers + "}}";
    }

    private static void fail(String message, Throwable error) {
        System.err.println("Debezium ended: " + message);
        if (error != null) {
            error.printStackTrace();
        }
        System.exit(1);
    }
}
