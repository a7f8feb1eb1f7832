import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import org.xerial.snappy.Snappy;
import org.xerial.snappy.SnappyFramedOutputStream;
import org.xerial.snappy.SnappyOutputStream;

/** Packs its input by Snappy, in the form that its argument names, for make.py. */
class Pack {
    public static void main(String[] arguments) throws Exception {
        byte[] bytes = System.in.readAllBytes();
        if (arguments[0].equals("block")) {
            System.out.write(Snappy.compress(bytes));
            System.out.flush();
            return;
        }
        ByteArrayOutputStream packed = new ByteArrayOutputStream();
        try (OutputStream out = arguments[0].equals("framed") ? new SnappyFramedOutputStream(packed) : new SnappyOutputStream(packed)) {
            out.write(bytes);
        }
        System.out.write(packed.toByteArray());
        System.out.flush();
    }
}
