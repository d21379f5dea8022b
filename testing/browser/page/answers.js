// Changes what the server's answers say about the audio that this page publishes, before the browser reads them.

/** From now on every such section has these `b=` and `a=` lines, and these parameters of Opus. */
export function amendAnswers({ bandwidth, attributes = [], parameters = {} }) {
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function amended(description) {
    if (description.type !== 'answer') return setRemoteDescription.call(this, description);
    const sections = description.sdp.split(/(?=^m=)/m).map((section) => {
      if (!section.startsWith('m=audio') || !/^a=recvonly\r$/m.test(section)) return section;
      const opus = section.match(/^a=rtpmap:(\d+) opus/m)?.[1];
      let text = section.replace(/^a=(ptime|maxptime):.*\r\n/gm, '').replace(/^b=.*\r\n/gm, '');
      if (bandwidth) text = text.replace(/^(c=.*\r\n)/m, `$1b=${bandwidth}\r\n`);
      text = text.replace(new RegExp(`^a=fmtp:${opus} (.*)\r$`, 'm'), (_, written) => {
        const all = new Map([...written.split(';').map((pair) => pair.split('=')), ...Object.entries(parameters)]);
        return `a=fmtp:${opus} ${[...all].map((pair) => pair.join('=')).join(';')}\r`;
      });
      return text + attributes.map((line) => `a=${line}\r\n`).join('');
    });
    return setRemoteDescription.call(this, { type: 'answer', sdp: sections.join('') });
  };
}
