package obs

import (
	"log/slog"
	"time"

	"github.com/kumihimo/kumihimo/internal/flight"
)

// FlightRecorder keeps the records of each request that the log's filter
// withholds, and writes them, with their own times, if the request fails: it
// logs an error, panics, is answered with 5xx, is slow, or [Keep] is called.
// What goes well leaves nothing behind. A request is one of chiobs, or what the
// outermost [Start] times. The zero value is the production default.
//
// A record that is withheld costs what a written one does, less the Write: it
// is rendered, every [slog.LogValuer] in it is called, and Logger.Enabled is
// true down to Level.
type FlightRecorder struct {
	// Level is the lowest level that is kept, read once. Default:
	// slog.LevelDebug.
	Level slog.Leveler

	// Records and Bytes bound what is kept of one request; the oldest records
	// are dropped in their favour, a quarter at a time. Defaults: 512, 64 KiB.
	Records, Bytes int

	// TotalBytes bounds what is kept of all requests. Default: 16 MiB.
	TotalBytes int64

	// Slow is how long a request takes at least that is written for its
	// slowness. Default: none is.
	Slow time.Duration

	// PerSecond is how many requests are written in a second at most.
	// Default: 10.
	PerSecond int
}

const (
	defaultFlightRecords = 512
	defaultFlightBytes   = 64 << 10
	defaultFlightTotal   = 16 << 20
	defaultFlightRate    = 10
)

func (o *FlightRecorder) recorder() *flight.Recorder {
	if o == nil {
		return nil
	}
	f := flight.Options{
		Level: slog.LevelDebug, Slow: o.Slow,
		Records: positive(o.Records, defaultFlightRecords), Bytes: positive(o.Bytes, defaultFlightBytes),
		TotalBytes: positive(o.TotalBytes, defaultFlightTotal), PerSecond: positive(o.PerSecond, defaultFlightRate),
	}
	if o.Level != nil {
		f.Level = o.Level.Level()
	}
	return flight.New(f)
}

func positive[T int | int64](n, otherwise T) T {
	if n > 0 {
		return n
	}
	return otherwise
}

// FlightStats is the account of the flight recorder, in records.
type FlightStats struct {
	Written int64 // with the request that failed
	Lost    int64 // dropped for lack of room
	Limited int64 // of requests that failed when PerSecond others had
}
