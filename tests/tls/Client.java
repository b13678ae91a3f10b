// Client.java URL CERTIFICATE PROTOCOL
//
// Reads a stream over TLS with Java's standard library. Prints "open" after the first event, the
// data of each further event, and "end" when the server has ended the stream in order. PROTOCOL is
// http/1.1, tls1.2 or h2.

import java.io.FileInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Iterator;
import java.util.stream.Stream;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;

class Client {
    public static void main(String[] arguments) throws Exception {
        String protocol = arguments[2];
        HttpClient.Version version =
            protocol.equals("h2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
        String tls = protocol.equals("tls1.2") ? "TLSv1.2" : "TLSv1.3";
        SSLParameters parameters = new SSLParameters(null, new String[] {tls});
        HttpClient client = HttpClient.newBuilder()
            .version(version)
            .sslContext(trust(arguments[1]))
            .sslParameters(parameters)
            .build();
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0])).build();
        HttpResponse<Stream<String>> response =
            client.send(request, HttpResponse.BodyHandlers.ofLines());
        if (response.version() != version) {
            throw new IllegalStateException(response.version().toString());
        }
        print(response.body().iterator());
        System.exit(0);
    }

    /** Iterating throws if the stream breaks off. */
    static void print(Iterator<String> lines) {
        boolean isOpen = false;
        while (lines.hasNext()) {
            String line = lines.next();
            if (line.startsWith("data: ")) {
                System.out.println(isOpen ? line.substring(6) : "open");
                isOpen = true;
            }
        }
        System.out.println("end");
    }

    static SSLContext trust(String certificate) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (FileInputStream file = new FileInputStream(certificate)) {
            store.setCertificateEntry(
                "hub", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory managers =
            TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }
}
