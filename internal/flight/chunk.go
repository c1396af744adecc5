package flight

import (
	"math/bits"
	"sync"
)

const (
	// firstChunk is the size of a flight's first chunk. Each of the next has
	// twice the size of the one before.
	firstChunk = 4 << 10

	// chunksAtLeast is how many chunks the bytes of a full flight are in: as
	// much as one of them is forgotten at a time.
	chunksAtLeast = 4

	// classes is how many sizes of chunks are used again.
	classes = 8
)

// A chunk is a run of lines, each after its length. No one outside of its
// flight sees it, and at the flight's end it is wiped: so, other than the
// flight itself, which contexts carry on, it may be used again. At a request's
// rate of records the garbage would cost more than all the rest.
type chunk struct {
	lines   []byte
	records int
}

// chunks are those out of use, by size: firstChunk, twice as much, …
type chunks [classes]sync.Pool

// largest is the size of the largest chunk of flights of at most n bytes.
func largest(n int) int {
	size := firstChunk
	if n/chunksAtLeast < size {
		return n / chunksAtLeast
	}
	for size*2 <= n/chunksAtLeast {
		size *= 2
	}
	return size
}

// class is the index of the pool for size, or -1.
func class(size int) int {
	i := bits.TrailingZeros(uint(size)) - bits.TrailingZeros(firstChunk)
	if i < 0 || i >= classes || size != firstChunk<<i {
		return -1
	}
	return i
}

func (p *chunks) get(size int) *chunk {
	if i := class(size); i >= 0 {
		if c, ok := p[i].Get().(*chunk); ok {
			return c
		}
	}
	return &chunk{lines: make([]byte, 0, size)}
}

func (p *chunks) put(c *chunk) {
	if i := class(cap(c.lines)); i >= 0 {
		clear(c.lines)
		c.lines, c.records = c.lines[:0], 0
		p[i].Put(c)
	}
}
