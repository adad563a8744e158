package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// logs answers like the real kubelet, with the same words for what is not there.
func (s *streams) logs(w http.ResponseWriter, r *http.Request) {
	pod, name := s.pods.find(r.PathValue("namespace"), r.PathValue("pod")), r.PathValue("container")
	if pod == nil {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return
	}
	c := pod.container(name)
	if c == nil {
		http.Error(w, fmt.Sprintf("container %s not found in pod %s", name, pod.name), http.StatusNotFound)
		return
	}
	c.mu.Lock()
	source, missing := c.output, fmt.Sprintf("container %q in pod %q is waiting to start: ContainerCreating", name, pod.name)
	if r.FormValue("previous") == "true" {
		source, missing = c.previous, fmt.Sprintf("previous terminated container %q in pod %q not found", name, pod.name)
	}
	c.mu.Unlock()
	if source == nil {
		http.Error(w, missing, http.StatusBadRequest)
		return
	}
	wanted, err := parseLogQuery(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	wanted.copy(r.Context(), w, source)
}

// logQuery is what the query of a log request asks for.
type logQuery struct {
	follow, timestamps bool
	tail               int // negative: all
	since              time.Time
	limit              int // bytes; negative: all
}

func parseLogQuery(r *http.Request) (*logQuery, error) {
	q := &logQuery{
		follow: r.FormValue("follow") == "true", timestamps: r.FormValue("timestamps") == "true",
		tail: -1, limit: -1,
	}
	for name, into := range map[string]*int{"tailLines": &q.tail, "limitBytes": &q.limit} {
		if text := r.FormValue(name); text != "" {
			number, err := strconv.Atoi(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			*into = number
		}
	}
	if text := r.FormValue("sinceSeconds"); text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("sinceSeconds: %w", err)
		}
		q.since = time.Now().Add(-time.Duration(seconds) * time.Second)
	}
	if text := r.FormValue("sinceTime"); text != "" {
		moment, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, fmt.Errorf("sinceTime: %w", err)
		}
		q.since = moment
	}
	return q, nil
}

// copy writes the log, and each piece at once.
func (q *logQuery) copy(ctx context.Context, w http.ResponseWriter, source *output) {
	number := source.since(q.since)
	if q.tail >= 0 {
		number = max(number, source.tail(q.tail))
	}
	left, lineStart := q.limit, true
	for {
		entries, after := source.next(ctx, number, q.follow)
		if len(entries) == 0 {
			return
		}
		number = after
		var text []byte
		for _, e := range entries {
			if q.timestamps && lineStart {
				text = e.at.UTC().AppendFormat(text, time.RFC3339Nano)
				text = append(text, ' ')
			}
			text = append(text, e.text...)
			lineStart = bytes.HasSuffix(e.text, []byte("\n"))
		}
		if q.limit >= 0 {
			text = text[:min(left, len(text))]
			left -= len(text)
		}
		if _, err := w.Write(text); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		if q.limit >= 0 && left == 0 {
			return
		}
	}
}
