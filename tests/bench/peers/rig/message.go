package main

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"math/rand"
	"strconv"
)

// A message is JSON with numbers at fixed places, so that writing and reading them costs nothing:
//
//	{"c":"000001","q":"0000000001","t":"0000000000000000000","p":"..."}
//
// c is the connection, q the number within it from 1, t the scheduled time in nanoseconds.
const (
	atConnection, digitsConnection = 6, 6
	atNumber, digitsNumber         = 19, 10
	atTime, digitsTime             = 36, 19
	atRest                         = 62
	minSize                        = 64
)

func compose(size int) []byte {
	m := []byte(`{"c":"000000","q":"0000000000","t":"0000000000000000000","p":"`)
	return append(append(m, ticks(size-len(m)-2)...), '"', '}')
}

// ticks returns text as a market feed has it: compressible, but no row of equal letters.
func ticks(size int) []byte {
	dice := rand.New(rand.NewSource(1))
	var b []byte
	for len(b) < size {
		b = strconv.AppendFloat(append(b, "bid "...), 64000+dice.Float64()*500, 'f', 2, 64)
		b = strconv.AppendFloat(append(b, " size "...), dice.Float64()*3, 'f', 6, 64)
		b = append(b, "; "...)
	}
	return b[:size]
}

func putDigits(to []byte, value int64) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = byte('0' + value%10)
		value /= 10
	}
}

func digits(from []byte) (value int64) {
	for _, d := range from {
		value = value*10 + int64(d-'0')
	}
	return value
}

// frame is one message as it is on the wire (RFC 6455, section 5.2), its numbers to be put in.
type frame struct {
	bytes []byte
	body  int // where the message's first bytes are, which hold the numbers
}

func plainFrame(message []byte, binaryKind bool) frame {
	head := header(opcode(binaryKind), len(message))
	return frame{append(head, message...), len(head)}
}

// deflatedFrame has the numbers in a stored block (RFC 1951, section 3.2.4), ahead of one block
// with the rest, compressed once: the reader inflates every message, the writer compresses none.
func deflatedFrame(message []byte, binaryKind bool) frame {
	var rest bytes.Buffer
	w, _ := flate.NewWriter(&rest, flate.BestCompression)
	_, _ = w.Write(message[atRest:])
	_ = w.Flush()
	packed := bytes.TrimSuffix(rest.Bytes(), []byte{0, 0, 0xff, 0xff}) // RFC 7692, section 7.2.1
	stored := []byte{0}
	stored = binary.LittleEndian.AppendUint16(stored, atRest)
	stored = binary.LittleEndian.AppendUint16(stored, ^uint16(atRest))
	head := header(opcode(binaryKind)|0x40, len(stored)+atRest+len(packed))
	body := len(head) + len(stored)
	all := append(append(append(head, stored...), message[:atRest]...), packed...)
	return frame{all, body}
}

func opcode(binaryKind bool) byte {
	if binaryKind {
		return 0x82
	}
	return 0x81
}

func header(first byte, size int) []byte {
	switch {
	case size < 126:
		return []byte{first, byte(size)}
	case size < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(size))
	default:
		return binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(size))
	}
}

func (f frame) stamp(at int, number, time int64) {
	b := f.bytes[at+f.body:]
	putDigits(b[atNumber:atNumber+digitsNumber], number)
	putDigits(b[atTime:atTime+digitsTime], time)
}
