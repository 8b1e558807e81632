// The bytes of the replies, made once before the first request.
#pragma once

#include <string>

enum Endpoint { CHAT, COMPLETIONS, COMPLETION, ENDPOINTS };

// One way of answering: the parts of a streamed reply, and the whole of one that is not.
struct Reply {
    std::string head;        // status line, headers and, for chat, the chunk that only names the role
    std::string chunk;       // one content-bearing chunk
    std::string last_chunk;  // the last of them, which may hold fewer tokens
    std::string end;         // finish reason, usage, [DONE], end of the body
    std::string streamed;    // all of it: what an unpaced reply sends at once
    std::string plain;       // not streamed
};

class Replies {
    Reply replies[ENDPOINTS][2];  // by endpoint, without and with a usage chunk

    static std::string words(int n) {
        std::string text;
        for (int i = 0; i < n; i++) text += " tok";
        return text;
    }
    static std::string http_chunk(const std::string& data) {
        char size[32];
        snprintf(size, sizeof size, "%zx\r\n", data.size());
        return size + data + "\r\n";
    }
    static std::string event(const std::string& json) { return http_chunk("data: " + json + "\n\n"); }
    static std::string http(const std::string& status, const std::string& body) {
        return "HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nContent-Length: " +
               std::to_string(body.size()) + "\r\n\r\n" + body;
    }

    static Reply make(Endpoint kind, bool with_usage, int tokens, int per_chunk) {
        const std::string count = std::to_string(tokens), total = std::to_string(tokens + PROMPT_TOKENS);
        const std::string usage = "\"usage\":{\"prompt_tokens\":" + std::to_string(PROMPT_TOKENS) +
                                  ",\"completion_tokens\":" + count + ",\"total_tokens\":" + total + "}";
        const std::string name = kind == CHAT ? "chat.completion" : "text_completion";
        const std::string common = "\"id\":\"truth\",\"created\":1700000000,\"model\":\"truth\",";
        const std::string chunk_head = "{" + common + "\"object\":\"" + name +
                                       (kind == CHAT ? ".chunk\"," : "\",");
        const std::string native_end = "\"stop\":true,\"tokens_predicted\":" + count +
                                       ",\"tokens_evaluated\":" + std::to_string(PROMPT_TOKENS) + "}";
        auto choice = [&](const std::string& content, const std::string& finish) {
            return chunk_head + "\"choices\":[{\"index\":0," + content + ",\"finish_reason\":" + finish + "}]}";
        };
        auto content = [&](int n) {
            if (kind == COMPLETION) return event("{\"content\":\"" + words(n) + "\",\"stop\":false}");
            return event(choice(kind == CHAT ? "\"delta\":{\"content\":\"" + words(n) + "\"}"
                                             : "\"text\":\"" + words(n) + "\"", "null"));
        };
        Reply r;
        r.head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        if (kind == CHAT) r.head += event(choice("\"delta\":{\"role\":\"assistant\",\"content\":null}", "null"));
        r.chunk = content(per_chunk);
        r.last_chunk = content(tokens - per_chunk * ((tokens - 1) / per_chunk));
        if (kind == COMPLETION) {
            r.end = event("{\"content\":\"\"," + native_end);
        } else {
            r.end = event(choice(kind == CHAT ? "\"delta\":{}" : "\"text\":\"\"", "\"length\""));
            if (with_usage) r.end += event(chunk_head + "\"choices\":[]," + usage + "}");
            r.end += event("[DONE]");
        }
        r.end += "0\r\n\r\n";
        r.streamed = r.head;
        for (int i = 0; i < (tokens - 1) / per_chunk; i++) r.streamed += r.chunk;
        r.streamed += r.last_chunk + r.end;
        if (kind == COMPLETION)
            r.plain = http("200 OK", "{\"content\":\"" + words(tokens) + "\"," + native_end);
        else
            r.plain = http("200 OK", "{" + common + "\"object\":\"" + name + "\",\"choices\":[{\"index\":0," +
                              (kind == CHAT ? "\"message\":{\"role\":\"assistant\",\"content\":\"" + words(tokens) + "\"}"
                                            : "\"text\":\"" + words(tokens) + "\"") +
                              ",\"finish_reason\":\"length\"}]," + usage + "}");
        return r;
    }

  public:
    static constexpr int PROMPT_TOKENS = 16;
    const std::string health = http("200 OK", "{\"status\":\"ok\"}");
    const std::string models = http("200 OK", 
        "{\"object\":\"list\",\"data\":[{\"id\":\"truth\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"benchmarks\"}]}");
    const std::string unknown = http("404 Not Found", "{\"error\":{\"message\":\"Not found.\"}}");
    const std::string no_length =
        http("411 Length Required", "{\"error\":{\"message\":\"Content-Length is missing.\"}}");

    Replies(int tokens, int per_chunk) {
        for (int kind = 0; kind < ENDPOINTS; kind++)
            for (int usage = 0; usage < 2; usage++)
                replies[kind][usage] = make(Endpoint(kind), usage, tokens, per_chunk);
    }
    const Reply* of(Endpoint kind, bool with_usage) const { return &replies[kind][with_usage]; }
};
