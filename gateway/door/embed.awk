# Writes the browser's scripts as whole HTTP responses in C: the first file as script_client, all of them, one after
# the other, as script_client_socket. Lines with nothing but a comment, and tabs at the start of a line, are left out.
FNR == 1 { file++ }
/^\t*\/\*/ { in_comment = 1 }
!in_comment && !/^\t*(\/\/.*)?$/ {
	sub(/^\t+/, "")
	size[file] += length($0) + 1
	gsub(/\\/, "&&")
	gsub(/["?]/, "\\\\&") # also no trigraphs
	text[file] = text[file] "\t\"" $0 "\\n\"\n"
}
/\*\/$/ { in_comment = 0 }
function response(name, body, len)
{
	printf "\nconst char %s[] =\n", name
	printf "\t\"HTTP/1.1 200 OK\\r\\nContent-Type: text/javascript; charset=utf-8\\r\\nContent-Length: %d\\r\\n\"\n", len
	printf "\t\"Cache-Control: max-age=600\\r\\nAccess-Control-Allow-Origin: *\\r\\n\"\n"
	printf "\t\"X-Content-Type-Options: nosniff\\r\\nConnection: close\\r\\n\\r\\n\"\n%s;\n", body
}
END {
	print "#include \"gateway/door/scripts.h\""
	response("script_client", text[1], size[1])
	response("script_client_socket", text[1] text[2], size[1] + size[2])
}
