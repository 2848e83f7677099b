// A TLS-aware TCP proxy in the manner of the GopherCon 2018 talk "From Prototype to Production": accept, copy the record
// header and then the record, parse the hello, dial, and io.Copy both ways. It is what the standard library gives.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"strings"
	"time"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: go-talk LISTEN FILE, of lines NAME=BACKEND")
	}
	routes, err := readRoutes(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Print(err)
			continue
		}
		go handle(conn.(*net.TCPConn), routes)
	}
}

func readRoutes(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	routes := make(map[string]string)
	for _, line := range strings.Fields(string(text)) {
		if name, backend, found := strings.Cut(line, "="); found {
			routes[name] = backend
		}
	}
	return routes, err
}

func handle(client *net.TCPConn, routes map[string]string) {
	defer client.Close()
	client.SetReadDeadline(time.Now().Add(5 * time.Second))
	var hello bytes.Buffer
	if _, err := io.CopyN(&hello, client, 5); err != nil {
		return
	}
	length := binary.BigEndian.Uint16(hello.Bytes()[3:5])
	if _, err := io.CopyN(&hello, client, int64(length)); err != nil {
		return
	}
	client.SetReadDeadline(time.Time{})
	name, err := serverName(hello.Bytes()[5:])
	if err != nil {
		log.Print(err)
		return
	}
	address, found := routes[name]
	if !found {
		log.Printf("no route for %q", name)
		return
	}
	dialled, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		log.Print(err)
		return
	}
	backend := dialled.(*net.TCPConn)
	defer backend.Close()
	if _, err := hello.WriteTo(backend); err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		copyHalf(backend, client)
	}()
	copyHalf(client, backend)
	<-done
}

// copyHalf carries one direction; its end goes on to the other side. Between TCP connections io.Copy splices.
func copyHalf(to, from *net.TCPConn) {
	io.Copy(to, from)
	from.CloseRead()
	to.CloseWrite()
}

var errHello = errors.New("not a ClientHello")

// serverName finds the name in a ClientHello message (RFC 8446, 4.1.2; RFC 6066, 3).
func serverName(message []byte) (string, error) {
	rest := cursor(message)
	kind, _ := rest.take(1)
	if len(kind) == 0 || kind[0] != 1 {
		return "", errHello
	}
	rest.take(3 + 2 + 32)
	rest.vector(1)
	rest.vector(2)
	rest.vector(1)
	extensions, ok := rest.vector(2)
	for ok && len(extensions) > 0 {
		kind, known := extensions.take(2)
		body, whole := extensions.vector(2)
		if !known || !whole {
			return "", errHello
		}
		if binary.BigEndian.Uint16(kind) != 0 {
			continue
		}
		names, _ := body.vector(2)
		names.take(1)
		name, ok := names.vector(2)
		if !ok {
			return "", errHello
		}
		return strings.ToLower(string(name)), nil
	}
	return "", errHello
}

type cursor []byte

func (c *cursor) take(size int) (cursor, bool) {
	if len(*c) < size {
		*c = nil
		return nil, false
	}
	taken := (*c)[:size]
	*c = (*c)[size:]
	return taken, true
}

func (c *cursor) vector(lengthSize int) (cursor, bool) {
	length, ok := c.take(lengthSize)
	if !ok {
		return nil, false
	}
	size := 0
	for _, b := range length {
		size = size<<8 | int(b)
	}
	return c.take(size)
}
