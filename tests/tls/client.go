// client.go URL CERTIFICATE PROTOCOL
//
// Reads a stream over TLS with Go's standard library. Prints "open" after the first event, the data
// of each further event, and "end" when the server has ended the stream in order. PROTOCOL is
// http/1.1, tls1.2 or h2.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {
	url, certificate, protocol := os.Args[1], os.Args[2], os.Args[3]
	client := http.Client{Transport: transport(certificate, protocol)}
	response, err := client.Get(url)
	check(err)
	if isHTTP2 := response.ProtoMajor == 2; isHTTP2 != (protocol == "h2") {
		log.Fatal(response.Proto)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 10<<20)
	isOpen := false
	for lines.Scan() {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case isData && isOpen:
			fmt.Println(data)
		case isData:
			fmt.Println("open")
			isOpen = true
		}
	}
	check(lines.Err())
	fmt.Println("end")
}

func transport(certificate, protocol string) *http.Transport {
	pem, err := os.ReadFile(certificate)
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots}
	if protocol == "tls1.2" {
		config.MaxVersion = tls.VersionTLS12
	}
	return &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: protocol == "h2"}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
