// r3labs/sse reconnects by itself when a connection breaks, and returns when a stream ends in order.
package main

import (
	"time"

	"carafe/tests/clients/reader"

	"github.com/r3labs/sse/v2"
)

func main() {
	read := reader.New()
	// It takes no event above 64 KiB by default.
	client := sse.NewClient(read.URL, sse.ClientMaxBufferSize(reader.Largest))
	for {
		err := client.SubscribeRaw(func(event *sse.Event) {
			// It also passes on blocks without data.
			if len(event.Data) > 0 {
				read.Show(string(event.Event), string(event.ID), string(event.Data))
			}
		})
		if err != nil {
			reader.Fail(err.Error())
		}
		time.Sleep(100 * time.Millisecond)
	}
}
