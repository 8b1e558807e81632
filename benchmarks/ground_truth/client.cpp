// Reference client: the accuracy of one epoll loop in C++ on this machine. Closed loop, one thread.
// It takes each HTTP chunk as one event, as the ground-truth server and llama-server send them.
#include <sys/resource.h>

#include <algorithm>

#include "records.hpp"

namespace {

double cpu_s() {
    rusage use;
    getrusage(RUSAGE_SELF, &use);
    return double(use.ru_utime.tv_sec + use.ru_stime.tv_sec) + 1e-6 * double(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

struct Place {
    int fd = -1;
    bool idle = true;
    std::vector<char> buffer;
    size_t fill = 0, position = 0;
    bool in_body = false, chunked = false;
    size_t body_left = 0;
    std::string request;
    SeenRequest record{};
    std::vector<SeenChunk> chunks;
};

class Client {
    const Options& options;
    const int inflight;
    const int64_t iters;
    const ns_t duration, ramp;
    const bool keep;
    const std::string ids;
    sockaddr_in address{};
    int epoll = epoll_create1(0);
    std::vector<Place> places;
    std::string head, tail;  // of a request, around its id
    int64_t next_job = 0, replies = 0, outstanding = 0, content_chunks = 0;
    ns_t stop_at = INT64_MAX, offset = realtime_offset_ns();
    const ns_t offset_start = offset;
    std::vector<SeenRequest> requests;
    std::vector<SeenChunk> chunks;

  public:
    explicit Client(const Options& o)
        : options(o), inflight(int(o.number("inflight"))), iters(int64_t(o.number("iters"))),
          duration(ns_t(o.number("duration-s") * 1e9)), ramp(o.ms("ramp-ms")), keep(!o.text("records").empty()),
          ids(o.text("ids")), places(size_t(inflight)) {
        if (!iters == !duration) die("give --iters or --duration-s");
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        address.sin_port = htons(uint16_t(o.number("port")));
        std::string body = "{\"model\":\"truth\",\"max_tokens\":" + o.text("max-tokens") + ",\"ignore_eos\":true,\"cache_prompt\":false";
        if (o.text("stream") == "yes") body += ",\"stream\":true,\"stream_options\":{\"include_usage\":true}";
        std::string prompt;
        for (int i = 0; i < 48; i++) prompt += i ? " harbour" : "harbour";
        body += ",\"messages\":[{\"role\":\"user\",\"content\":\"" + prompt + "\"}]}";
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
               "Content-Length: " + std::to_string(body.size()) + "\r\nX-Request-Id: " + ids;
        tail = "\r\n\r\n" + body;
        if (keep) {
            requests.reserve(size_t(o.number("capacity")));
            chunks.reserve(requests.capacity() * size_t(o.number("max-tokens")));
            requests.resize(requests.capacity()), requests.clear();
            chunks.resize(chunks.capacity()), chunks.clear();
        }
    }

    void run() {
        for (int i = 0; i < inflight; i++) {
            places[i].record.slot = i;
            places[i].buffer.resize(1 << 18);
            connect_place(places[i]);
        }
        const double cpu_begin = cpu_s();
        const ns_t begin = now_ns();
        if (duration) stop_at = begin + duration;
        int active = 0;
        while (outstanding || (active < inflight && may_hand_out())) {
            int timeout = -1;
            if (active < inflight) {  // ramp: place i starts at i/inflight of it
                ns_t now = now_ns(), due = begin;
                while (active < inflight && (due = begin + ramp * active / inflight) <= now) next(places[active++]);
                if (active < inflight) timeout = int((due - now) / MS);
            }
            epoll_event events[256];
            int n = epoll_wait(epoll, events, 256, timeout);
            for (int i = 0; i < n; i++) read(places[events[i].data.u32]);
        }
        printf("{\"requests\":%ld,\"chunks\":%ld,\"wall_s\":%.6f,\"cpu_s\":%.6f}\n", replies, content_chunks,
               double(now_ns() - begin) * 1e-9, cpu_s() - cpu_begin);
    }

    void write_records() const {
        if (!keep) return;
        FILE* file = fopen(options.text("records").c_str(), "wb");
        if (!file) die("can't open " + options.text("records"));
        FileHeader header{{'M', 'L', 'S', 'S', 'E', 'E', 'N', '1'}, int64_t(requests.size()), int64_t(chunks.size()),
                          replies - int64_t(requests.size()), offset_start, realtime_offset_ns()};
        write_all(file, std::vector<FileHeader>{header});
        write_all(file, requests);
        write_all(file, chunks);
        if (fclose(file)) die("can't write records");
    }

  private:
    bool may_hand_out() const { return iters ? next_job < iters : now_ns() < stop_at; }

    void connect_place(Place& p) {
        p.fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(p.fd, (sockaddr*)&address, sizeof address)) die("can't connect");
        prepare(p.fd);
        epoll_event event{EPOLLIN, {}};
        event.data.u32 = uint32_t(&p - places.data());
        epoll_ctl(epoll, EPOLL_CTL_ADD, p.fd, &event);
    }

    void next(Place& p) {
        if (!may_hand_out()) return;
        p.record.job = next_job++;
        p.record.reconnects = 0;
        p.request = head + std::to_string(p.record.job) + tail;
        p.idle = false, p.in_body = false;
        p.fill = p.position = 0;
        p.chunks.clear();
        outstanding++;
        p.record.start_ns = now_ns();
        if (send(p.fd, p.request.data(), p.request.size(), MSG_NOSIGNAL) != ssize_t(p.request.size())) again(p);
    }

    // The server had closed the connection that was kept open: send once more on a new one.
    void again(Place& p) {
        if (p.fill || p.record.reconnects++ > 3) die("the server closed a connection in mid-reply");
        close(p.fd);
        connect_place(p);
        if (send(p.fd, p.request.data(), p.request.size(), MSG_NOSIGNAL) < 0) die("can't send");
    }

    void read(Place& p) {
        if (p.fill == p.buffer.size()) {
            std::copy(p.buffer.begin() + long(p.position), p.buffer.begin() + long(p.fill), p.buffer.begin());
            p.fill -= p.position, p.position = 0;
            if (p.fill == p.buffer.size()) die("a reply's part is larger than the buffer");
        }
        Arrival arrival = receive(p.fd, p.buffer.data() + p.fill, p.buffer.size() - p.fill);
        if (arrival.bytes < 0 && errno == EAGAIN) return;
        if (arrival.bytes <= 0) {
            if (!p.idle) return again(p);
            close(p.fd);
            return connect_place(p);
        }
        const ns_t user = now_ns(), kernel = arrival.kernel_ns ? arrival.kernel_ns - offset : user;
        p.fill += size_t(arrival.bytes);
        const size_t before = p.chunks.size();
        const int64_t chunks_before = content_chunks;
        const bool complete = parse(p, kernel, user);
        if (keep && content_chunks > chunks_before)
            for (size_t i = before; i + 1 < p.chunks.size(); i++) p.chunks[i].merged = 1;
        if (complete) finish(p, kernel, user);
    }

    // Parses the chunks that are whole; true at the end of the reply.
    bool parse(Place& p, ns_t kernel, ns_t user) {
        const char* base = p.buffer.data();
        if (!p.in_body) {
            auto end = static_cast<const char*>(memmem(base, p.fill, "\r\n\r\n", 4));
            if (!end) return false;
            if (memcmp(base, "HTTP/1.1 200", 12)) die("the server answered: " + std::string(base, 12));
            p.in_body = true;
            p.position = size_t(end + 4 - base);
            auto length = static_cast<const char*>(memmem(base, p.position, "Content-Length: ", 16));
            p.chunked = !length;
            if (length) p.body_left = size_t(atoll(length + 16));
        }
        if (!p.chunked) return p.fill - p.position >= p.body_left;
        while (true) {
            const char *at = base + p.position, *end = base + p.fill;
            auto line = static_cast<const char*>(memchr(at, '\n', size_t(end - at)));
            if (!line) return false;
            const size_t size = strtoul(at, nullptr, 16);
            if (size_t(end - line - 1) < size + 2) return false;
            if (!size) return true;
            if (bears_content(line + 1, size)) {
                content_chunks++;
                if (keep) p.chunks.push_back({kernel, user, 0});
            }
            p.position = size_t(line + 1 + size + 2 - base);
        }
    }

    static bool bears_content(const char* data, size_t size) {
        auto key = static_cast<const char*>(memmem(data, size, "\"content\":\"", 11));
        return key && key[11] != '"';
    }

    void finish(Place& p, ns_t kernel, ns_t user) {
        replies++, outstanding--;
        p.idle = true;
        if (keep && requests.size() < requests.capacity() && chunks.size() + p.chunks.size() <= chunks.capacity()) {
            p.record.end_kernel_ns = kernel, p.record.end_user_ns = user;
            p.record.first_chunk = int64_t(chunks.size()), p.record.chunks = int64_t(p.chunks.size());
            requests.push_back(p.record);
            chunks.insert(chunks.end(), p.chunks.begin(), p.chunks.end());
        }
        next(p);
    }
};

}  // namespace

int main(int argc, char** argv) {
    join_parent();
    Options options(argc, argv, {{"port", "8090"}, {"inflight", "1"}, {"iters", "0"}, {"duration-s", "0"},
                                 {"ramp-ms", "0"}, {"max-tokens", "64"}, {"stream", "yes"}, {"ids", "ref-"},
                                 {"capacity", "20000"}, {"records", ""}});
    Client client(options);
    client.run();
    client.write_records();
}
