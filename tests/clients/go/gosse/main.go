// go-sse reconnects by itself.
package main

import (
	"net/http"

	"carafe/tests/clients/reader"

	"github.com/tmaxmax/go-sse"
)

func main() {
	read := reader.New()
	request, err := http.NewRequest(http.MethodGet, read.URL, http.NoBody)
	if err != nil {
		reader.Fail(err.Error())
	}
	connection := sse.NewConnection(request)
	// It takes no event above 64 KiB by default.
	connection.Buffer(nil, reader.Largest)
	connection.SubscribeToAll(func(event sse.Event) { read.Show(event.Type, event.LastEventID, event.Data) })
	reader.Fail(connection.Connect().Error())
}
