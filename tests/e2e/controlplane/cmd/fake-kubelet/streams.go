package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/util/proxy"
	translator "k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// The real kubelet's bounds: how long a stream may be idle, and how long a client may take to open
// its streams.
const (
	streamIdle     = 4 * time.Hour
	streamCreation = 30 * time.Second
)

// streams serves what the API server asks of a kubelet.
type streams struct {
	pods *pods
	// WebSockets of version 5 and tunnels are translated to SPDY by the API server's own code,
	// which needs a server to speak to: this one's plain listener on loopback, behind a path that
	// nobody else can guess.
	plain *url.URL
}

func newStreams(pods *pods) *streams { return &streams{pods: pods} }

// handler is the handler for the listener that the API server knows.
func (s *streams) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", s.exec)
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", s.attach)
	mux.HandleFunc("/portForward/{namespace}/{pod}", s.portForward)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.logs)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })

	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		klog.Fatalf("listen on loopback: %v", err)
	}
	s.plain = &url.URL{Scheme: "http", Host: listener.Addr().String(), Path: "/" + rand.Text()}
	server := &http.Server{Handler: http.StripPrefix(s.plain.Path, mux), ReadHeaderTimeout: headerWait}
	go func() { _ = server.Serve(listener) }()
	return mux
}

// inside is the same request at the plain listener.
func (s *streams) inside(r *http.Request) *url.URL {
	location := s.plain.JoinPath(r.URL.Path)
	location.RawQuery = r.URL.RawQuery
	return location
}

// session is one request for a stream: the context ends when the client is gone.
type session struct {
	ctx       context.Context
	pod       *pod
	container *container
}

// open finds what the request is about and wraps the connection so that the end of the client is
// noticed even while nobody reads from it.
func (s *streams) open(w http.ResponseWriter, r *http.Request) (*session, http.ResponseWriter, *http.Request, bool) {
	found := s.pods.find(r.PathValue("namespace"), r.PathValue("pod"))
	if found == nil {
		http.Error(w, "pod does not exist", http.StatusNotFound)
		return nil, nil, nil, false
	}
	opened := &session{pod: found}
	if name := r.PathValue("container"); name != "" {
		if opened.container = found.container(name); opened.container == nil {
			http.Error(w, fmt.Sprintf("container not found (%q)", name), http.StatusInternalServerError)
			return nil, nil, nil, false
		}
		if _, _, running := opened.container.current(); !running {
			http.Error(w, fmt.Sprintf("container not found (%q)", name), http.StatusInternalServerError)
			return nil, nil, nil, false
		}
	}
	ctx, gone := context.WithCancel(r.Context())
	opened.ctx = ctx
	return opened, &watchedWriter{ResponseWriter: w, gone: gone}, r.WithContext(ctx), true
}

func (s *streams) exec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	argv := r.Form["command"]
	if len(argv) == 0 {
		http.Error(w, "no command", http.StatusBadRequest)
		return
	}
	session, w, r, ok := s.open(w, r)
	if !ok || s.translated(w, r, options) {
		return
	}
	remotecommand.ServeExec(w, r, session, "", "", "", argv, options, streamIdle, streamCreation,
		remotecommand.SupportedStreamingProtocols)
}

func (s *streams) attach(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	session, w, r, ok := s.open(w, r)
	if !ok || s.translated(w, r, options) {
		return
	}
	remotecommand.ServeAttach(w, r, session, "", "", "", options, streamIdle, streamCreation,
		remotecommand.SupportedStreamingProtocols)
}

// translated serves a WebSocket of version 5, which comes when the node declares the feature.
func (s *streams) translated(w http.ResponseWriter, r *http.Request, options *remotecommand.Options) bool {
	if !wsstream.IsWebSocketRequestWithStreamCloseProtocol(r) {
		return false
	}
	translator.NewStreamTranslatorHandler(s.inside(r), nil, 0, translator.Options{
		Stdin: options.Stdin, Stdout: options.Stdout, Stderr: options.Stderr, Tty: options.TTY,
	}).ServeHTTP(w, r)
	return true
}

func (s *streams) portForward(w http.ResponseWriter, r *http.Request) {
	session, w, r, ok := s.open(w, r)
	if !ok {
		return
	}
	if wsstream.IsWebSocketRequestWithTunnelingProtocol(r) {
		upgrade := proxy.NewUpgradeAwareHandler(s.inside(r), nil, false, true, responder{})
		translator.NewTunnelingHandler(upgrade).ServeHTTP(w, r)
		return
	}
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, session, "", "", options, streamIdle, streamCreation, portforward.SupportedProtocols)
}

type responder struct{}

func (responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

// watchedWriter hands out connections that say when they are gone. Without it the process of an
// exec whose client vanished would run for ever.
type watchedWriter struct {
	http.ResponseWriter
	gone context.CancelFunc
}

func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *watchedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	inner, buffers, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	conn := &watchedConn{Conn: inner, gone: w.gone}
	// The reader must read through the wrapper too, after what it has read already.
	early := make([]byte, buffers.Reader.Buffered())
	if _, err := io.ReadFull(buffers.Reader, early); err != nil {
		return nil, nil, err
	}
	reader := bufio.NewReader(io.MultiReader(bytes.NewReader(early), conn))
	return conn, bufio.NewReadWriter(reader, bufio.NewWriter(conn)), nil
}

type watchedConn struct {
	net.Conn
	gone context.CancelFunc
}

func (c *watchedConn) Read(into []byte) (int, error) {
	n, err := c.Conn.Read(into)
	if err != nil {
		c.gone()
	}
	return n, err
}

func (c *watchedConn) Write(text []byte) (int, error) {
	n, err := c.Conn.Write(text)
	if err != nil {
		c.gone()
	}
	return n, err
}

func (c *watchedConn) Close() error {
	c.gone()
	return c.Conn.Close()
}
