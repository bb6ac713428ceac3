// Debezium's MySQL connector in its embedded engine, whose records go to a broker as Kafka Connect writes them: by its
// converters, with its producer. Runs until it is ended.
// Usage: DebeziumToKafka BROKERS json|json-with-schemas|avro REGISTRY key=value…
import io.debezium.engine.*;
import io.debezium.embedded.Connect;
import java.util.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.Converter;

public class DebeziumToKafka {
    static Converter converter(String format, String registry, boolean ofKey) throws Exception {
        String name = format.equals("avro") ? "io.apicurio.registry.utils.converter.AvroConverter"
            : "org.apache.kafka.connect.json.JsonConverter";
        Map<String, Object> settings = new HashMap<>();
        settings.put("schemas.enable", format.equals("json-with-schemas"));
        settings.put("apicurio.registry.url", registry);
        settings.put("apicurio.registry.auto-register", true);
        settings.put("apicurio.registry.find-latest", true);
        // The wire format of Confluent, with the ids that its interface knows.
        settings.put("apicurio.registry.as-confluent", true);
        settings.put("apicurio.registry.use-id", "contentId");
        settings.put("apicurio.registry.headers.enabled", false);
        Converter converter = (Converter) Class.forName(name).getDeclaredConstructor().newInstance();
        converter.configure(settings, ofKey);
        return converter;
    }

    public static void main(String[] a) throws Exception {
        Properties settings = new Properties();
        for (int i = 3; i < a.length; i++) {
            String[] pair = a[i].split("=", 2);
            settings.put(pair[0], pair[1]);
        }
        Converter keys = converter(a[1], a[2], true), values = converter(a[1], a[2], false);
        Properties writing = new Properties();
        writing.put("bootstrap.servers", a[0]);
        writing.put("acks", "all");
        writing.put("max.request.size", 30000000);
        KafkaProducer<byte[], byte[]> producer =
            new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer());
        DebeziumEngine<ChangeEvent<SourceRecord, SourceRecord>> engine =
            DebeziumEngine.create(Connect.class).using(settings).notifying(event -> {
                SourceRecord record = event.value();
                byte[] key = keys.fromConnectData(record.topic(), record.keySchema(), record.key());
                byte[] value = values.fromConnectData(record.topic(), record.valueSchema(), record.value());
                producer.send(new ProducerRecord<>(record.topic(), key, value), (written, failed) -> {
                    if (failed != null) {
                        failed.printStackTrace();
                        Runtime.getRuntime().halt(1);
                    }
                });
            }).using((ok, message, error) -> {
                System.err.println("ended: " + message);
                if (error != null) error.printStackTrace();
                Runtime.getRuntime().halt(ok ? 0 : 1);
            }).build();
        engine.run();
    }
}
