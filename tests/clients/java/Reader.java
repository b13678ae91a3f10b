import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * What the programs here share: each reads COUNT ordinary events from URL and prints one line of JSON for each, and for
 * each of the hub's own events among them.
 */
final class Reader {
  private static final long LIMIT_MS = 300_000;

  final String url;
  private int left;
  private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  Reader(String[] arguments) {
    if (arguments.length != 2) fail("usage: URL COUNT");
    url = arguments[0];
    left = Integer.parseInt(arguments[1]);
    Thread limit = new Thread(() -> {
      try {
        Thread.sleep(LIMIT_MS);
      } catch (InterruptedException interrupted) {
        return;
      }
      fail("not done in time");
    });
    limit.setDaemon(true);
    limit.start();
  }

  /** Prints an event, and ends the program after the last. */
  synchronized void show(String type, String id, String data) {
    out.println("{\"type\":" + json(type) + ",\"id\":" + json(id) + ",\"data\":" + json(data) + "}");
    if (!type.startsWith("carafe.") && --left == 0) System.exit(0);
  }

  static void fail(String reason) {
    System.err.println(reason);
    System.exit(1);
  }

  private static String json(String text) {
    StringBuilder json = new StringBuilder("\"");
    for (char c : text.toCharArray()) {
      if (c == '"' || c == '\\') json.append('\\').append(c);
      else if (c < ' ') json.append(String.format("\\u%04x", (int) c));
      else json.append(c);
    }
    return json.append('"').toString();
  }
}
