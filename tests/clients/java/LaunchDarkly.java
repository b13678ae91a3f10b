import com.launchdarkly.eventsource.ConnectStrategy;
import com.launchdarkly.eventsource.ErrorStrategy;
import com.launchdarkly.eventsource.EventSource;
import com.launchdarkly.eventsource.MessageEvent;
import java.net.URI;
import java.util.concurrent.TimeUnit;

/** LaunchDarkly's okhttp-eventsource, which reconnects by itself. */
final class LaunchDarkly {
  public static void main(String[] arguments) throws Exception {
    Reader reader = new Reader(arguments);
    EventSource source = new EventSource.Builder(ConnectStrategy.http(URI.create(reader.url)))
        // By default it throws when a connection breaks.
        .errorStrategy(ErrorStrategy.alwaysContinue())
        // By default the delay doubles until a connection has lasted for a minute.
        .retryDelayResetThreshold(0, TimeUnit.MILLISECONDS)
        .build();
    for (MessageEvent event : source.messages()) {
      reader.show(event.getEventName(), event.getLastEventId(), event.getData());
    }
  }
}
