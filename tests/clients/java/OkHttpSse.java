import java.util.concurrent.TimeUnit;
import java.util.concurrent.ArrayBlockingQueue;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;
import okhttp3.sse.EventSource;
import okhttp3.sse.EventSourceListener;
import okhttp3.sse.EventSources;

/** OkHttp's own okhttp-sse, which leaves reconnecting to its caller. */
final class OkHttpSse extends EventSourceListener {
  private final Reader reader;
  private final ArrayBlockingQueue<Boolean> ended = new ArrayBlockingQueue<>(1);
  private volatile String lastEventId;

  private OkHttpSse(Reader reader) {
    this.reader = reader;
  }

  public static void main(String[] arguments) throws Exception {
    new OkHttpSse(new Reader(arguments)).read();
  }

  private void read() throws InterruptedException {
    // By default it gives up a connection that is silent for 10 s.
    OkHttpClient client = new OkHttpClient.Builder().readTimeout(0, TimeUnit.SECONDS).build();
    while (true) {
      Request.Builder request = new Request.Builder().url(reader.url);
      if (lastEventId != null) request.header("Last-Event-ID", lastEventId);
      EventSources.createFactory(client).newEventSource(request.build(), this);
      ended.take();
      Thread.sleep(100);
    }
  }

  @Override
  public void onEvent(EventSource source, String id, String type, String data) {
    if (id != null) lastEventId = id;
    reader.show(type == null ? "message" : type, lastEventId == null ? "" : lastEventId, data);
  }

  @Override
  public void onClosed(EventSource source) {
    ended.add(true);
  }

  @Override
  public void onFailure(EventSource source, Throwable failure, Response response) {
    ended.add(true);
  }
}
