// Package reader is what the programs here share: each reads COUNT ordinary events from URL and prints one line of JSON
// for each, and for each of the hub's own events among them.
package reader

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

const limit = 300 * time.Second

// Largest is the size of the largest event that a program has to take.
const Largest = 1 << 20

type event struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data string `json:"data"`
}

// Reader prints events.
type Reader struct {
	URL  string
	left int
}

// New reads the arguments of the program.
func New() *Reader {
	if len(os.Args) != 3 {
		Fail("usage: URL COUNT")
	}
	count, err := strconv.Atoi(os.Args[2])
	if err != nil || count <= 0 {
		Fail("usage: URL COUNT")
	}
	time.AfterFunc(limit, func() { Fail("not done in time") })
	return &Reader{URL: os.Args[1], left: count}
}

// Show prints an event, and ends the program after the last.
func (r *Reader) Show(eventType, id, data string) {
	if eventType == "" {
		eventType = "message"
	}
	if err := json.NewEncoder(os.Stdout).Encode(event{eventType, id, data}); err != nil {
		Fail(err.Error())
	}
	if !strings.HasPrefix(eventType, "carafe.") {
		r.left--
	}
	if r.left == 0 {
		os.Exit(0)
	}
}

// Fail ends the program.
func Fail(reason string) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(1)
}
