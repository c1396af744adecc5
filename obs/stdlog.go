package obs

import (
	"context"
	"log"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"github.com/kumihimo/kumihimo/obs/logging"
)

// fatalFlush bounds what log.Fatal waits for: the program is to end.
const fatalFlush = 2 * time.Second

// takeStandardLog sends what the log package prints to t: slog.SetDefault
// alone would write log.Fatal's last words at INFO, without a place, and the
// program would end with its last spans unsent.
func takeStandardLog(t *Telemetry) {
	log.SetFlags(0) // time and place are the record's
	log.SetOutput(&standardLog{t})
}

// standardLog writes each line of the log package as a record with the place
// of the call. log.Fatal's is CRITICAL, log.Panic's ERROR, others are INFO.
//
// Of a Logger made by log.New it sees nothing, and where os.Exit is called by
// itself nothing can be flushed.
type standardLog struct {
	t *Telemetry
}

func (w *standardLog) Write(line []byte) (int, error) {
	level, pc := callOfLog()
	ctx := context.Background()
	if h := w.t.logger.Handler(); h.Enabled(ctx, level) {
		r := slog.NewRecord(time.Now(), level, strings.TrimSuffix(string(line), "\n"), pc)
		_ = h.Handle(ctx, r) // counted where it failed
	}
	if level == logging.LevelCritical {
		ctx, cancel := context.WithTimeout(ctx, fatalFlush)
		defer cancel()
		_ = w.t.Flush(ctx) // what is left is lost with the program
	}
	return len(line), nil
}

// callOfLog finds the function of the log package that is being called, and
// who calls it.
func callOfLog() (level slog.Level, pc uintptr) {
	var pcs [16]uintptr
	n := runtime.Callers(3, pcs[:]) // above Callers, callOfLog and Write
	for _, at := range pcs[:n] {
		f := runtime.FuncForPC(at - 1)
		name, ours := strings.CutPrefix(f.Name(), "log.")
		switch {
		case !ours:
			return level, at
		case strings.Contains(name, "Fatal"):
			level = logging.LevelCritical
		case strings.Contains(name, "Panic"):
			level = slog.LevelError
		}
	}
	return level, 0
}
