package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// serveHTTP is the program of pods that need something to forward a port to: GET answers with the
// pod's name, any other method with the body that it was sent.
func serveHTTP(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: fake-kubelet http PORT")
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("POD_IP"), args[0]))
	if err != nil {
		return err
	}
	fmt.Println("listening on", listener.Addr())
	server := &http.Server{ReadHeaderTimeout: headerWait, Handler: http.HandlerFunc(answer)}
	return server.Serve(listener)
}

func answer(w http.ResponseWriter, r *http.Request) {
	fmt.Println(r.Method, r.URL.Path)
	if r.Method == http.MethodGet {
		_, _ = fmt.Fprintf(w, "hello from %s\n", os.Getenv("HOSTNAME"))
		return
	}
	// What is sent comes back while it is still being sent: both directions at once.
	_ = http.NewResponseController(w).EnableFullDuplex()
	_, _ = io.Copy(w, r.Body)
}
