package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
)

// serveLines takes messages as the lines of POST bodies, and answers when it has counted them.
func serveLines(t *tally) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		at := now()
		t.mutex.Lock()
		for line := range bytes.Lines(body) {
			t.note(bytes.TrimSuffix(line, []byte("\n")), at)
		}
		t.mutex.Unlock()
		w.WriteHeader(http.StatusNoContent)
	}
	go func() { _ = http.Serve(listener, http.HandlerFunc(handler)) }()
	return "http://" + listener.Addr().String() + "/", nil
}

// asBytes hands messages over as they are on the wire.
type asBytes struct{}

func (asBytes) Name() string                  { return "proto" }
func (asBytes) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (asBytes) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}

// subscribe reads the topic's events in batches; returns when the subscription is in force.
func subscribe(p *plan, t *tally) error {
	client, err := grpc.NewClient(
		p.api,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithInitialWindowSize(4<<20),
		grpc.WithInitialConnWindowSize(8<<20),
	)
	if err != nil {
		return err
	}
	stream, err := client.NewStream(
		context.Background(),
		&grpc.StreamDesc{ServerStreams: true},
		"/virtufin.Pubsub/SubscribeEvents",
		grpc.ForceCodec(asBytes{}), grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(64<<20),
	)
	if err != nil {
		return err
	}
	request := protowire.AppendTag(nil, 1, protowire.BytesType)
	if err := stream.SendMsg(protowire.AppendString(request, p.topic)); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Header(); err != nil {
		return err
	}
	go func() {
		for {
			var batch []byte
			if err := stream.RecvMsg(&batch); err != nil {
				say(map[string]any{"event": "unsubscribed", "problem": err.Error()})
				return
			}
			at := now()
			t.mutex.Lock()
			eachField(batch, 1, func(event []byte) {
				eachField(event, 2, func(data []byte) { t.note(data, at) })
			})
			t.mutex.Unlock()
		}
	}()
	return nil
}

// eachField calls with the content of each length-delimited field of this number.
func eachField(message []byte, wanted protowire.Number, call func([]byte)) {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		message = message[n:]
		if number == wanted && kind == protowire.BytesType {
			content, n := protowire.ConsumeBytes(message)
			if n < 0 {
				return
			}
			call(content)
			message = message[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
			return
		}
		message = message[n:]
	}
}
