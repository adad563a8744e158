package main

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"
)

// A test that logs without end must not fill the memory: beyond this the oldest lines go.
const outputLimit = 16 << 20

// entry is one line of output, or a piece of a line when the program wrote no newline yet.
type entry struct {
	at     time.Time
	stderr bool
	text   []byte
}

// output is what one run of a container has written. Readers follow it at their own pace, each by
// the number of the next entry.
type output struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced with each change
	entries []entry
	first   int // number of entries[0]
	size    int
	closed  bool
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

// stream is the writer for one of the two streams.
func (o *output) stream(stderr bool) io.Writer { return outputWriter{o, stderr} }

type outputWriter struct {
	*output
	stderr bool
}

func (w outputWriter) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, line := range bytes.SplitAfter(bytes.Clone(text), []byte("\n")) {
		if len(line) > 0 {
			w.entries = append(w.entries, entry{now, w.stderr, line})
			w.size += len(line)
		}
	}
	for w.size > outputLimit && len(w.entries) > 1 {
		w.size -= len(w.entries[0].text)
		w.entries = w.entries[1:]
		w.first++
	}
	w.announce()
	return len(text), nil
}

// close ends the output: readers that follow it come to their end.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.announce()
}

func (o *output) announce() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// end is the number that the next entry will have.
func (o *output) end() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.first + len(o.entries)
}

// next gives the entries from number on and the number to go on with. Without any it waits if
// follow is set, and else, or after the end, gives none.
func (o *output) next(ctx context.Context, number int, follow bool) ([]entry, int) {
	for {
		o.mu.Lock()
		found := o.entries[min(max(number-o.first, 0), len(o.entries)):]
		after, closed, changed := o.first+len(o.entries), o.closed, o.changed
		o.mu.Unlock()
		if len(found) > 0 || closed || !follow {
			return found, after
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, after
		}
	}
}

// tail is the number of the entry that begins the last lines lines.
func (o *output) tail(lines int) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := 0
	for i := len(o.entries) - 1; i >= 0; i-- {
		last := i == len(o.entries)-1
		if last || bytes.HasSuffix(o.entries[i].text, []byte("\n")) {
			if seen == lines {
				return o.first + i + 1
			}
			seen++
		}
	}
	return o.first
}

// since is the number of the first entry that is not older than a moment.
func (o *output) since(moment time.Time) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, e := range o.entries {
		if !e.at.Before(moment) {
			return o.first + i
		}
	}
	return o.first + len(o.entries)
}
